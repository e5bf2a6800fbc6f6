# SPDX-License-Identifier: BSD-3-Clause
#
# node, where it is installed: JavaScript's heap is its own, but Buffers, zlib, crypto, the event
# loop, worker threads and V8's compiler threads use malloc.
node=/usr/bin/node
[ -x $node ] || exit 77
[ "$1" = prepare ] && exit 0

cat >"$TMPDIR/program.js" <<'END'
const crypto = require('crypto'), zlib = require('zlib'), fs = require('fs');
const { Worker, isMainThread, parentPort, workerData } = require('worker_threads');
const sha = (b) => crypto.createHash('sha256').update(b).digest('hex');
let x = 1;
const rnd = (n) => (x = (x * 48271) % 2147483647) % n;

if (!isMainThread) {
    x = workerData + 1;
    const m = new Map();
    for (let i = 0; i < 50000; i++) m.set(`k${rnd(9999)}`, Buffer.alloc(rnd(300), i));
    let n = 0;
    for (const b of m.values()) n += b.length;
    parentPort.postMessage([workerData, m.size, n]);
} else {
    const rows = [];
    for (let i = 0; i < 60000; i++) rows.push({ id: i, w: 'w' + rnd(5000), v: [rnd(9), rnd(99)] });
    const text = JSON.stringify(rows);
    console.log(text.length, sha(text));
    console.log(sha(zlib.gunzipSync(zlib.gzipSync(text))));
    const parts = [];
    for (let i = 0; i < 20000; i++) parts.push(Buffer.from(rows[i].w.repeat(rnd(40))));
    console.log(sha(Buffer.concat(parts)));
    console.log(crypto.pbkdf2Sync('secret', 'salt', 2000, 32, 'sha512').toString('hex'));
    fs.writeFileSync('out.txt', parts.join('\n'));
    rows.sort((a, b) => (a.w < b.w ? -1 : a.w > b.w ? 1 : b.id - a.id));
    console.log(sha(JSON.stringify(rows.map((r) => r.id))));
    console.log((text.match(/"w":"w(1[0-9]+)"/g) || []).length);
    Promise.all([1, 2, 3].map((n) => new Promise((done, fail) => {
        const w = new Worker(__filename, { workerData: n });
        w.on('message', done);
        w.on('error', fail);
    }))).then((all) => console.log(JSON.stringify(all)));
}
END
under $node "$TMPDIR/program.js"
