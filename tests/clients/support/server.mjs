// A server to test against: `cachalot serve` on a free port of this machine.
//
//     const server = await startServer({scripted: 'tests/clients/sdk/script.json'});
//     ... server.url, 'http://127.0.0.1:40123' ...
//     await server.stop();
//
// The program is $CACHALOT, else build/release/cachalot. Whatever happens to the test, the server ends with it.
import {spawn} from 'node:child_process';
import {existsSync} from 'node:fs';
import {resolve} from 'node:path';
import {fileURLToPath} from 'node:url';

export const root = fileURLToPath(new URL('../../..', import.meta.url));
export const program = resolve(process.env.CACHALOT ?? resolve(root, 'build/release/cachalot'));
export const nano = resolve(root, 'models/nano/nano.gguf');

const running = new Set();
const killAll = () => { for (const child of running) child.kill('SIGKILL'); };
process.on('exit', killAll);
for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'])
    process.once(signal, () => {
        killAll();
        process.kill(process.pid, signal);
    });

// Starts a server and waits until it is ready to answer. Options:
//   scripted   the path of a script; without it `model` answers
//   model      the path of a model; default: nano
//   args       more flags of `cachalot serve`
//   env        more environment variables
//   timeout    milliseconds that the start may take; default: 60000
// Returns {url, host, port, pid, stop(), log()}. Throws, with what the server printed, if it does not come up.
export async function startServer({scripted, model = nano, args = [], env = {}, timeout = 60_000} = {}) {
    if (!existsSync(program)) throw new Error(`${program} does not exist; build it or set CACHALOT`);
    const source = scripted ? ['--scripted', resolve(scripted)] : ['--model', resolve(model)];
    const child = spawn(program, ['serve', '--port', '0', '--kv-dir', 'off', ...source, ...args], {
        stdio: ['ignore', 'pipe', 'pipe'],
        env: {...process.env, ...env},
    });
    running.add(child);
    // A test that fails before it stops its server must not wait for it.
    for (const handle of [child, child.stdout, child.stderr]) handle.unref();
    let output = '';
    for (const stream of [child.stdout, child.stderr]) {
        stream.setEncoding('utf8');
        stream.on('data', text => { output += text; });
    }
    const ended = new Promise(done => {
        child.once('error', error => {
            output += error.message;
            done();
        });
        child.once('close', done);
    }).then(() => running.delete(child));
    const alive = () => running.has(child) && child.exitCode === null && child.signalCode === null;

    // Asks the server to stop, kills it if it takes longer than `grace` milliseconds.
    const stop = async (grace = 5_000) => {
        if (alive()) child.kill('SIGTERM');
        const timer = setTimeout(() => child.kill('SIGKILL'), grace);
        await ended;
        clearTimeout(timer);
        return child.exitCode;
    };

    const deadline = Date.now() + timeout;
    while (alive() && Date.now() < deadline) {
        const url = output.match(/ at (https?:\/\/\S+)/)?.[1];
        if (url && await ready(url)) {
            const {hostname, port} = new URL(url);
            return {url, host: hostname, port: Number(port), pid: child.pid, stop, log: () => output};
        }
        await new Promise(done => setTimeout(done, 20));
    }
    await stop(0);
    throw new Error(`the server did not start:\n${output}`);
}

async function ready(url) {
    try {
        const answer = await fetch(`${url}/health`);
        await answer.arrayBuffer();
        return answer.ok;
    } catch {
        return false;
    }
}
