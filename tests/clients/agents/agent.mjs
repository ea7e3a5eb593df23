// Runs a coding agent in an empty folder, with an empty home, against a server, and sees what it sends where.
//
// What goes to the server passes a recorder. Everything else would have to pass the proxy that the environment names,
// which lets nothing through and writes down who asked; a program that ignores such settings would not be noticed.
import assert from 'node:assert/strict';
import {spawn} from 'node:child_process';
import {mkdirSync, mkdtempSync, readFileSync, rmSync} from 'node:fs';
import http from 'node:http';
import {tmpdir} from 'node:os';
import {join} from 'node:path';
import {fileURLToPath} from 'node:url';

import {program, startServer} from '../support/server.mjs';

export const prompt = 'Write a greeting.';
export const greeting = 'Hello, "whale"!\nüñ 🐋\n';
export const farewell = 'Done: the greeting is written.';
export const script = agent => fileURLToPath(new URL(`${agent}-script.json`, import.meta.url));

const binaries = join(process.env.CLIENT_PACKAGES, 'node_modules/.bin');
const groups = new Set();
const killAll = () => { for (const group of groups) killGroup(group); };
process.on('exit', killAll);

function killGroup(group) {
    try {
        process.kill(-group, 'SIGKILL');
    } catch {
        // nobody is left of it
    }
}

const listen = server => new Promise(done => server.listen(0, '127.0.0.1', () => done(server.address().port)));

// Passes requests on to `server` and keeps them, with their answers, in `exchanges`.
async function startRecorder(server) {
    const exchanges = [];
    const recorder = http.createServer((request, response) => {
        const sent = [];
        request.on('data', bytes => sent.push(bytes));
        request.on('end', () => {
            const body = Buffer.concat(sent);
            const {method, url, headers} = request;
            const onward = http.request({host: server.host, port: server.port, method, path: url, headers}, answer => {
                const exchange = {method, path: url.split('?')[0], headers, status: answer.statusCode, answer: ''};
                if (body.length > 0) exchange.body = JSON.parse(body);
                exchanges.push(exchange);
                response.writeHead(answer.statusCode, answer.headers);
                answer.on('data', bytes => { exchange.answer += bytes; });
                answer.pipe(response);
            });
            onward.on('error', () => response.destroy());
            response.on('close', () => onward.destroy());
            onward.end(body);
        });
    });
    return {exchanges, url: `http://127.0.0.1:${await listen(recorder)}`, close: () => recorder.close()};
}

// The proxy to the rest of the world.
async function startGuard() {
    const asked = [];
    const guard = http.createServer((request, response) => {
        asked.push(new URL(request.url, 'http://nowhere').hostname);
        response.writeHead(403).end();
    });
    guard.on('connect', (request, socket) => {
        asked.push(request.url.split(':')[0]);
        socket.on('error', () => {});
        socket.end('HTTP/1.1 403 Forbidden\r\n\r\n');
    });
    return {asked, url: `http://127.0.0.1:${await listen(guard)}`, close: () => guard.close()};
}

// Runs `test({home, work, run, launch, asked})` with folders of their own, which are removed afterwards.
//   run(name, arguments, environment)   the agent; returns {status, output, errors}, fails after a minute
//   launch(name, arguments)             the same through `cachalot launch`, with a scripted server of its own
//   asked                               hosts that the agents wanted to reach beyond this machine
export async function inScratch(test) {
    const folder = mkdtempSync(join(tmpdir(), 'cachalot-agent-'));
    const [home, work] = ['home', 'work'].map(name => {
        mkdirSync(join(folder, name));
        return join(folder, name);
    });
    const guard = await startGuard();
    const environment = {
        PATH: `${binaries}:${process.env.PATH}`, HOME: home, TMPDIR: folder, TERM: 'dumb', LANG: 'C.UTF-8',
        HTTP_PROXY: guard.url, HTTPS_PROXY: guard.url, http_proxy: guard.url, https_proxy: guard.url,
        NO_PROXY: '127.0.0.1', no_proxy: '127.0.0.1', DO_NOT_TRACK: '1',
    };
    const run = (command, args, more = {}, limit = 180_000) => new Promise((done, failed) => {
        const child = spawn(command, args, {
            cwd: work, detached: true, env: {...environment, ...more}, stdio: ['ignore', 'pipe', 'pipe'],
        });
        groups.add(child.pid);
        const result = {status: null, output: '', errors: ''};
        child.stdout.on('data', bytes => { result.output += bytes; });
        child.stderr.on('data', bytes => { result.errors += bytes; });
        let late = false;
        const timer = setTimeout(() => {
            late = true;
            killGroup(child.pid);
        }, limit);
        child.on('error', failed);
        child.on('exit', () => setTimeout(() => killGroup(child.pid), 1_000).unref());  // what it left running
        child.on('close', status => {
            clearTimeout(timer);
            killGroup(child.pid);
            groups.delete(child.pid);
            const said = `\n${result.output}\n${result.errors}`;
            if (late) failed(new Error(`${command} took longer than ${limit} ms:${said}`));
            else if (status !== 0) failed(new Error(`${command} ended with status ${status}:${said}`));
            else done({...result, status});
        });
    });
    const launch = async (name, args) => {
        const result = await run(program, ['launch', name, '--port', '0', '--scripted', script(name), '--', ...args],
                                 {CACHALOT_API_KEY: 'secret'});
        const url = result.errors.match(/starting a server at (\S+)/)[1];
        await assert.rejects(fetch(`${url}/health`), 'the server has been stopped');
        return result;
    };
    try {
        await test({home, work, run, launch, asked: guard.asked});
    } finally {
        guard.close();
        rmSync(folder, {recursive: true, force: true, maxRetries: 5});
    }
}

// The same with a scripted server behind a recorder: `test` also gets `url` and `exchanges`.
export const withServer = (agent, test) => inScratch(async scratch => {
    const server = await startServer({scripted: script(agent)});
    const recorder = await startRecorder(server);
    try {
        await test({...scratch, url: recorder.url, exchanges: recorder.exchanges, server});
    } finally {
        recorder.close();
        await server.stop();
    }
});

export const assertGreeting = work =>
    assert.equal(readFileSync(join(work, 'greeting.txt'), 'utf8'), greeting);

// Nothing that a model's turn must not show has come through, and the server had an answer to everything.
export function assertAllAnswered(exchanges) {
    for (const {method, path, status, answer} of exchanges) {
        assert.equal(status, 200, `${method} ${path}: ${answer}`);
        assert.doesNotMatch(answer, /DSML|<\/?think>/);
    }
}

// The second list begins with the first, so that its prompt begins with the first's and is found in the cache.
export function assertContinues(first, second) {
    assert.ok(second.length > first.length);
    assert.deepEqual(second.slice(0, first.length), first);
    return second.slice(first.length);
}
