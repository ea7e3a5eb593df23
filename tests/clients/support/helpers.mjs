// What tests of several clients need.
import assert from 'node:assert/strict';

// The value of a metric of the server, summed over its labels.
export async function metric(server, name) {
    const text = await (await fetch(`${server.url}/metrics`)).text();
    const lines = text.split('\n').filter(line => line.startsWith(name) && /[{ ]/.test(line[name.length]));
    assert.ok(lines.length > 0, `no metric ${name}`);
    return lines.reduce((sum, line) => sum + Number(line.slice(line.lastIndexOf(' '))), 0);
}

// Waits until a condition holds, for at most `limit` milliseconds.
export async function until(condition, what, limit = 5_000) {
    const deadline = Date.now() + limit;
    while (!await condition()) {
        assert.ok(Date.now() < deadline, `waited ${limit} ms in vain until ${what}`);
        await new Promise(done => setTimeout(done, 10));
    }
}

// The model works for nobody.
export const idle = server =>
    until(async () => await metric(server, 'cachalot_num_requests_running') === 0 &&
                      await metric(server, 'cachalot_num_requests_waiting') === 0,
          'no request is running or waiting');

// Runs `test` while one request is being answered and another one waits, as many as a server with --queue 1 takes.
// `ask(text, signal)` sends a request; the script has no end of the answer to "endless". `test` is given a function that
// makes the two go away.
export async function whileBusy(server, ask, test) {
    const controller = new AbortController();
    const gone = [];
    for (const name of ['running', 'waiting']) {
        gone.push(assert.rejects(ask('endless', controller.signal)));
        await until(async () => await metric(server, `cachalot_num_requests_${name}`) === 1, `one request is ${name}`);
    }
    await test(() => controller.abort());
    controller.abort();
    await Promise.all(gone);
}

export async function collect(stream) {
    const all = [];
    for await (const one of stream) all.push(one);
    return all;
}

export const weatherSchema = {
    type: 'object',
    properties: {city: {type: 'string'}, days: {type: 'integer'}},
    required: ['city'],
};

export const noDsml = text => assert.doesNotMatch(text ?? '', /DSML|<\/?think>/);
