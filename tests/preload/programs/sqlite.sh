# SPDX-License-Identifier: BSD-3-Clause
#
# sqlite3: 300,000 rows, indexes, joins, aggregates, window functions; the database file is compared.
command -v sqlite3 >/dev/null || exit 77
[ "$1" = prepare ] && exit 0

under sqlite3 -batch rows.db <<'END'
PRAGMA journal_mode = MEMORY;
PRAGMA synchronous = OFF;
CREATE TABLE word (id INTEGER PRIMARY KEY, text TEXT NOT NULL);
CREATE TABLE row (id INTEGER PRIMARY KEY, word INTEGER NOT NULL, n INTEGER, note TEXT);
WITH RECURSIVE i(i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM i WHERE i < 4999)
INSERT INTO word SELECT i, printf('w%x-%d', i * 2654435761 % 4294967296, i) FROM i;
WITH RECURSIVE i(i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM i WHERE i < 299999)
INSERT INTO row SELECT i, i * 7919 % 5000, i * 104729 % 300007,
                       CASE WHEN i % 10 = 0 THEN printf('note %d of %s', i, hex(i * 31)) END FROM i;
CREATE INDEX row_word ON row (word, n);
SELECT count(*), sum(n), avg(n), min(n), max(n), total(length(note)) FROM row;
SELECT w.text, count(*), sum(r.n) FROM row r JOIN word w ON w.id = r.word
GROUP BY w.text ORDER BY 3 DESC, 1 LIMIT 50;
SELECT word, n, rank() OVER (PARTITION BY word ORDER BY n) FROM row WHERE word % 1000 = 7
ORDER BY word, n LIMIT 100;
SELECT length(group_concat(note, '|')) FROM row WHERE note IS NOT NULL;
SELECT json_group_object(text, id) FROM (SELECT * FROM word ORDER BY text LIMIT 20);
UPDATE row SET note = upper(note) || '!' WHERE note IS NOT NULL AND id % 3 = 0;
DELETE FROM row WHERE word % 7 = 3;
SELECT count(DISTINCT n % 1009), count(*) FROM row;
PRAGMA integrity_check;
VACUUM;
.sha3sum
END
