# SPDX-License-Identifier: BSD-3-Clause
#
# python3: its own test suite, as far as it is installed, every object by malloc (PYTHONMALLOC),
# and a script over sqlite3, whose tests Debian does not ship.  Outcomes are compared, test by test.
python=/usr/bin/python3
[ -x $python ] || exit 77
[ "$1" = prepare ] && exit 0

export PYTHONMALLOC=malloc PYTHONHASHSEED=0 PYTHONDONTWRITEBYTECODE=1
tests="test_list test_dict test_json test_threading"
if $python -c 'import test.test_list' 2>/dev/null; then
    $python -c 'import test.test_sqlite3' 2>/dev/null && tests="$tests test_sqlite3"
    # All at once, since test_threading mostly sleeps.  A shell's background jobs ignore SIGINT,
    # which that test would notice.
    for t in $tests; do
        env --default-signal=INT under $python -m test -v $t >"$TMPDIR/$t.log" 2>&1 &
    done
    for _ in $tests; do
        wait -n || touch "$TMPDIR/failed"
    done
    for t in $tests; do
        echo "== $t"
        grep -a -o -E '^test[A-Za-z0-9_]* \([^)]*\)' "$TMPDIR/$t.log" | sort
        grep -a -E '^(Ran|OK|FAILED)' "$TMPDIR/$t.log" | sed -E 's/ in [0-9.]+s//'
        grep -a -E '^(ERROR|FAIL|Fatal|Segmentation)' "$TMPDIR/$t.log"
        [ -f "$TMPDIR/failed" ] && grep -a -A 30 -E '^(ERROR|FAIL|Fatal)|Error' "$TMPDIR/$t.log" >&2
    done
    [ -f "$TMPDIR/failed" ] && exit 1
fi

under $python - <<'END'
import collections, hashlib, json, random, re, sqlite3, zlib

random.seed(7)
db = sqlite3.connect(":memory:")
db.create_function("double", 1, lambda x: None if x is None else 2 * x)
db.create_collation("backwards", lambda a, b: (a < b) - (a > b))

class Product:
    def __init__(self):
        self.value = 1
    def step(self, x):
        self.value = self.value * (x % 97 + 1) % 1000003
    def finalize(self):
        return self.value

db.create_aggregate("product", 1, Product)
db.execute("create table t (a integer primary key, b text, c blob)")
db.executemany("insert into t values (?, ?, ?)",
               ((i, "row %d" % (i * 7919 % 10007), bytes(i % 300)) for i in range(20000)))
print(db.execute("select sum(double(a)), product(a), sum(length(c)) from t").fetchall())
print(db.execute("select b from t order by b collate backwards limit 20").fetchall())
for i in range(200):
    try:
        db.execute("select nosuch%d from t" % i)
    except sqlite3.OperationalError as e:
        assert str(i) in str(e)
with db:
    db.execute("delete from t where a % 3 = 0")
print(hashlib.sha256("\n".join(db.iterdump()).encode()).hexdigest())

words = ["".join(random.choices("abcdefgh", k=random.randrange(1, 12))) for _ in range(40000)]
print(collections.Counter(words).most_common(10))
tree = {w: [words[i:i + 3], {"n": i, "f": i / 7}] for i, w in enumerate(words)}
text = json.dumps(tree, sort_keys=True)
assert json.loads(text) == tree
print(hashlib.sha256(text.encode()).hexdigest(), len(zlib.compress(text.encode())))
print(len(re.findall(r"(ab+c|h(?=a))[a-f]{2,}", " ".join(words))))
END
