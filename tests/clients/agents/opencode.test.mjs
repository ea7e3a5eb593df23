// opencode writes a file with its tool write, by /v1/chat/completions.
import assert from 'node:assert/strict';
import {readFileSync, writeFileSync} from 'node:fs';
import {join} from 'node:path';
import test from 'node:test';

import {assertAllAnswered, assertContinues, assertGreeting, farewell, inScratch, prompt, withServer} from './agent.mjs';

const args = ['run', prompt];

// At every start opencode installs the library for its plugins; there is no setting against it.
const onlyPlugins = asked => assert.deepEqual(asked.filter(host => !host.startsWith('registry.')), []);

test('opencode: calls a tool, with the settings by hand', async () => {
    await withServer('opencode', async ({work, run, url, exchanges, asked, server}) => {
        const config = {
            model: 'cachalot/scripted-v4',
            small_model: 'cachalot/scripted-v4',
            autoupdate: false,
            share: 'disabled',
            provider: {
                cachalot: {
                    npm: '@ai-sdk/openai-compatible',
                    name: 'Cachalot',
                    options: {baseURL: `${url}/v1`, apiKey: 'none'},
                    models: {'scripted-v4': {reasoning: true, tool_call: true, limit: {context: 131072, output: 32000}}},
                },
            },
        };
        const result = await run('opencode', args, {
            OPENCODE_CONFIG_CONTENT: JSON.stringify(config),
            OPENCODE_DISABLE_AUTOUPDATE: '1',
            OPENCODE_DISABLE_MODELS_FETCH: '1',
        });
        assert.match(result.output, new RegExp(farewell));
        assertGreeting(work);

        assertAllAnswered(exchanges);
        const turns = exchanges.filter(e => e.body?.tools).map(e => e.body);  // the others ask for a title
        assert.equal(turns.length, 2);
        const [call, answer] = assertContinues(turns[0].messages, turns[1].messages);
        assert.deepEqual(turns[1].tools, turns[0].tools);
        assert.equal(call.reasoning_content, 'The user wants a file.');
        assert.equal(answer.role, 'tool');
        assert.equal(answer.tool_call_id, call.tool_calls[0].id);
        onlyPlugins(asked);

        const [before, after] = await Promise.all(turns.map(async body => {
            const answer = await fetch(`${server.url}/apply-template`, {method: 'POST', body: JSON.stringify(body)});
            return (await answer.json()).prompt;
        }));
        assert.ok(after.startsWith(before), 'the second prompt begins with the first');
    });
});

test('opencode: through cachalot launch, whatever the own configuration says', async () => {
    await inScratch(async ({work, launch, asked}) => {
        const own = JSON.stringify({
            $schema: 'https://opencode.ai/config.json',  // which opencode itself adds where it is missing
            model: 'elsewhere/other',
            enabled_providers: ['elsewhere'],
            provider: {cachalot: {options: {baseURL: 'http://elsewhere.invalid/v1'}}},
        });
        writeFileSync(join(work, 'opencode.json'), own);
        const result = await launch('opencode', args);
        assert.match(result.output, new RegExp(farewell));
        assertGreeting(work);
        assert.equal(readFileSync(join(work, 'opencode.json'), 'utf8'), own);
        onlyPlugins(asked);
    });
});
