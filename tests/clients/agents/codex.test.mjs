// Codex runs a command that writes a file, by /v1/responses.
import assert from 'node:assert/strict';
import {mkdirSync, readFileSync, writeFileSync} from 'node:fs';
import {join} from 'node:path';
import test from 'node:test';

import {metric} from '../support/helpers.mjs';
import {nano, program, startServer} from '../support/server.mjs';
import {assertAllAnswered, assertContinues, assertGreeting, farewell, inScratch, prompt, withServer} from './agent.mjs';

const args = ['exec', '--skip-git-repo-check', '--sandbox', 'danger-full-access', prompt];

test('codex: calls a tool, with the settings by hand', async () => {
    await withServer('codex', async ({home, work, run, url, exchanges, asked}) => {
        mkdirSync(join(home, '.codex'));
        writeFileSync(join(home, '.codex/config.toml'), `
model = "scripted-v4"
model_provider = "cachalot"
model_context_window = 131072
check_for_update_on_startup = false
[model_providers.cachalot]
name = "Cachalot"
base_url = "${url}/v1"
wire_api = "responses"
env_key = "CACHALOT_API_KEY"
[features]
plugins = false
[analytics]
enabled = false
`);
        const result = await run('codex', args, {CACHALOT_API_KEY: 'none'});
        assert.equal(result.output.trim(), farewell);
        assertGreeting(work);

        assertAllAnswered(exchanges);
        const turns = exchanges.filter(e => e.path === '/v1/responses').map(e => e.body);
        assert.equal(turns.length, 2);
        const [reasoning, message, call, output] = assertContinues(turns[0].input, turns[1].input);
        assert.deepEqual(turns[1].tools, turns[0].tools);
        assert.equal(reasoning.summary[0].text, 'The user wants a file.');
        assert.equal(message.content[0].text, 'I will write it.');
        assert.equal(call.type, 'function_call');
        assert.equal(output.type, 'function_call_output');
        assert.equal(output.call_id, call.call_id);
        assert.match(output.output, /exited with code 0/);
        assert.deepEqual(asked, []);
    });
});

test('codex: through cachalot launch, whatever the own configuration says', async () => {
    await inScratch(async ({home, work, launch, asked}) => {
        const own = `
model = "other"
model_provider = "elsewhere"
model_context_window = 1000
[model_providers.elsewhere]
name = "Elsewhere"
base_url = "http://elsewhere.invalid/v1"
wire_api = "responses"
`;
        mkdirSync(join(home, '.codex'));
        writeFileSync(join(home, '.codex/config.toml'), own);
        const result = await launch('codex', args);
        assert.equal(result.output.trim(), farewell);
        assertGreeting(work);
        assert.equal(readFileSync(join(home, '.codex/config.toml'), 'utf8'), own);
        assert.deepEqual(asked, []);
    });
});

test('codex: the next turn of a session finds the last one in the cache', async () => {
    const server = await startServer({model: nano});
    try {
        await inScratch(async ({run}) => {
            const ask = args => run(
                program, ['launch', 'codex', '--port', server.port, '--', 'exec', '--skip-git-repo-check', ...args],
                {}, 240_000);  // the first prompt has thousands of tokens, which a small machine is to read
            await ask(['What is the capital of France?']);
            const read = await metric(server, 'cachalot_prompt_tokens_total');
            assert.equal(await metric(server, 'cachalot_prefix_cache_hits_total'), 0);
            await ask(['resume', '--last', 'What is 3 + 4?']);
            const found = await metric(server, 'cachalot_prefix_cache_hits_total');
            assert.ok(found >= read, `${found} tokens found, ${read} read before`);
        });
    } finally {
        await server.stop();
    }
});
