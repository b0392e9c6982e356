// Worker threads, child processes, files and signals in node. What comes first in time does not show.
const { Worker, isMainThread, parentPort, workerData, MessageChannel, receiveMessageOnPort } = require('worker_threads');
const { spawn, fork, exec, execFileSync, spawnSync } = require('child_process');
const crypto = require('crypto');
const fs = require('fs');
const os = require('os');
const path = require('path');
const zlib = require('zlib');

if (!isMainThread) {
    // A worker: counts in the memory that all share, and hashes.
    const counter = new Int32Array(workerData.shared);
    for (let i = 0; i < 20000; i++) Atomics.add(counter, 0, 1);
    Atomics.add(counter, 1, 1);
    Atomics.notify(counter, 1);
    parentPort.once('message', (text) => {
        parentPort.postMessage(crypto.createHash('sha256').update(text + workerData.number).digest('hex'));
    });
    return;
}
if (process.argv[2] === 'child') {
    process.on('message', (message) => {
        process.send({ sum: message.numbers.reduce((a, b) => a + b), argv: process.argv.slice(2) });
    });
    process.on('disconnect', () => process.exit(9));
    return;
}

const ended = (child) => new Promise((resolve) => child.on('close', (code, signal) => resolve([code, signal])));

async function workers() {
    const shared = new SharedArrayBuffer(8);
    const counter = new Int32Array(shared);
    const answers = await Promise.all([0, 1, 2, 3].map((number) => new Promise((resolve, reject) => {
        const worker = new Worker(__filename, { workerData: { shared, number } });
        worker.on('message', resolve);
        worker.on('error', reject);
        worker.postMessage('text');
    })));
    console.log('workers', counter[0], counter[1], answers.map((hex) => hex.slice(0, 8)).join());
    const failing = new Worker("throw new TypeError('meant')", { eval: true });
    console.log('worker fails:', await new Promise((resolve) => failing.on('error', (error) => resolve(`${error}`))));
    const endless = new Worker('for (;;);', { eval: true });
    await new Promise((resolve) => endless.on('online', resolve));
    console.log('worker terminated:', await endless.terminate());
}

async function children() {
    const cat = spawn('cat');
    let echoed = '';
    cat.stdout.on('data', (data) => (echoed += data));
    for (let i = 0; i < 1000; i++) cat.stdin.write(`line ${i}\n`);
    cat.stdin.end();
    console.log('cat', await ended(cat), echoed.length, echoed.endsWith('line 999\n'));
    const sleeper = spawn('sleep', ['100']);
    setTimeout(() => sleeper.kill('SIGTERM'), 20);
    console.log('killed', await ended(sleeper));
    const missing = spawn('/no/such/program');
    console.log('missing', await new Promise((resolve) => missing.on('error', (error) => resolve(error.code))));
    console.log('exec', await new Promise((resolve) => exec('echo $0; echo $VALUE >&2; exit 7', { env: { ...process.env, VALUE: 'ü' } },
        (error, out, err) => resolve([error.code, out, err]))));
    console.log('execFileSync', execFileSync('sort', ['-r'], { input: 'a\nc\nb\n' }).toString().split('\n').join());
    console.log('timeout', spawnSync('sleep', ['100'], { timeout: 50 }).signal);
    const shell = spawn('sh', ['-c', 'trap "exit 5" USR1; echo ready; while :; do sleep 0.05; done']);
    shell.stdout.once('data', () => shell.kill('SIGUSR1'));
    console.log('trapped', await ended(shell));
    const forked = fork(__filename, ['child', 'word']);
    forked.send({ numbers: [1, 2, 3, 4] });
    console.log('fork', await new Promise((resolve) => forked.on('message', resolve)));
    const left = new Promise((resolve) => forked.on('exit', resolve));
    forked.disconnect();
    console.log('forked ends', await left);
}

async function files() {
    const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'node-'));
    const file = path.join(folder, 'file');
    const text = 'some text\n'.repeat(100000);
    await fs.promises.writeFile(file, zlib.gzipSync(text));
    console.log('zipped', zlib.gunzipSync(await fs.promises.readFile(file)).toString() === text);
    const watched = new Promise((resolve) => {
        const watcher = fs.watch(folder, (event, name) => { watcher.close(); resolve([event, name]); });
    });
    fs.writeFileSync(path.join(folder, 'new'), 'x');
    console.log('watched', await watched);
    const names = await Promise.all(Array.from({ length: 50 }, async (_, i) => {
        await fs.promises.writeFile(path.join(folder, `n${i}`), `${i}`);
        return fs.promises.readFile(path.join(folder, `n${i}`), 'utf8');
    }));
    console.log('parallel files', names.reduce((sum, text) => sum + Number(text), 0));
    console.log('missing file', await fs.promises.open(path.join(folder, 'no')).catch((error) => error.code));
    const pieces = [];
    for await (const piece of fs.createReadStream(file, { highWaterMark: 1 << 10 })) pieces.push(piece.length);
    console.log('streamed', pieces.reduce((a, b) => a + b) === fs.statSync(file).size);
    fs.rmSync(folder, { recursive: true });
    console.log('removed', !fs.existsSync(folder));
}

async function signals() {
    // Waiting for a signal alone does not keep node from ending.
    const alive = setInterval(() => {}, 1000);
    const got = new Promise((resolve) => process.on('SIGUSR2', resolve));
    process.kill(process.pid, 'SIGUSR2');
    console.log('signal', await got);
    clearInterval(alive);
    const began = process.hrtime.bigint();
    await new Promise((resolve) => setTimeout(resolve, 30));
    console.log('timer', process.hrtime.bigint() - began >= 29000000n);
}

(async () => {
    await workers();
    await children();
    await files();
    await signals();
    const hashed = await new Promise((resolve, reject) => crypto.scrypt('password', 'salt', 32, (error, key) => error ? reject(error) : resolve(key)));
    console.log('scrypt', hashed.toString('hex').slice(0, 16));
    process.on('exit', (code) => console.log('exit', code));
    process.exitCode = 3;
})();
