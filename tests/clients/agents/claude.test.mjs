// Claude Code writes a file with its tool Write, by /v1/messages.
import assert from 'node:assert/strict';
import {mkdirSync, readFileSync, writeFileSync} from 'node:fs';
import {join} from 'node:path';
import test from 'node:test';

import {assertAllAnswered, assertContinues, assertGreeting, farewell, inScratch, prompt, withServer} from './agent.mjs';

const args = ['-p', prompt, '--allowedTools', 'Write', '--output-format', 'json'];

// Where the cache of the original shall end moves from request to request; it is no part of the prompt.
const plain = value => JSON.parse(JSON.stringify(value, (key, v) => key === 'cache_control' ? undefined : v));

test('claude: calls a tool, with the settings by hand', async () => {
    await withServer('claude', async ({work, run, url, exchanges, asked}) => {
        const result = JSON.parse((await run('claude', args, {
            ANTHROPIC_BASE_URL: url,
            ANTHROPIC_AUTH_TOKEN: 'none',
            ANTHROPIC_MODEL: 'scripted-v4',
            ANTHROPIC_DEFAULT_HAIKU_MODEL: 'scripted-v4',
            CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC: '1',
        })).output);
        assert.equal(result.is_error, false);
        assert.equal(result.result, farewell);
        assertGreeting(work);

        assertAllAnswered(exchanges);
        const turns = exchanges.filter(e => e.path === '/v1/messages').map(e => e.body);
        assert.equal(turns.length, 2);
        const [call, answer] = assertContinues(plain(turns[0].messages), plain(turns[1].messages));
        assert.deepEqual(plain(turns[1].tools), plain(turns[0].tools));
        assert.deepEqual(call.content.map(block => block.type), ['thinking', 'text', 'tool_use']);
        assert.equal(answer.content[0].type, 'tool_result');
        assert.equal(answer.content[0].tool_use_id, call.content[2].id);
        assert.match(JSON.stringify(answer.content[0].content), /created successfully/);
        assert.deepEqual(asked, []);
    });
});

test('claude: through cachalot launch, whatever the own settings say', async () => {
    await inScratch(async ({home, work, launch, asked}) => {
        const own = JSON.stringify({env: {ANTHROPIC_BASE_URL: 'http://elsewhere.invalid', ANTHROPIC_MODEL: 'other'}});
        mkdirSync(join(home, '.claude'));
        writeFileSync(join(home, '.claude/settings.json'), own);
        const result = JSON.parse((await launch('claude', args)).output);
        assert.equal(result.result, farewell);
        assert.equal(result.modelUsage['scripted-v4'].contextWindow, 131072);
        assertGreeting(work);
        assert.equal(readFileSync(join(home, '.claude/settings.json'), 'utf8'), own);
        assert.deepEqual(asked, []);
    });
});
