// Codex uses a tool of an MCP server, which it offers as one function of a namespace.
import assert from 'node:assert/strict';
import {mkdirSync, writeFileSync} from 'node:fs';
import {join} from 'node:path';
import test from 'node:test';
import {fileURLToPath} from 'node:url';

import {assertAllAnswered, assertContinues, withServer} from './agent.mjs';

test('codex: calls a tool of an MCP server', async () => {
    await withServer('codex-mcp', async ({home, run, url, exchanges, asked}) => {
        const notes = fileURLToPath(new URL('notes-server.mjs', import.meta.url));
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
[mcp_servers.notes]
command = ${JSON.stringify(process.execPath)}
args = [${JSON.stringify(notes)}]
default_tools_approval_mode = "approve"
[features]
plugins = false
[analytics]
enabled = false
`);
        const result = await run(
            'codex', ['exec', '--skip-git-repo-check', '--sandbox', 'danger-full-access', 'Look for the note about tea.'],
            {CACHALOT_API_KEY: 'none'});
        assert.equal(result.output.trim(), 'The tea is green.');

        assertAllAnswered(exchanges);
        const turns = exchanges.filter(e => e.path === '/v1/responses').map(e => e.body);
        assert.equal(turns.length, 2);
        const offered = turns[0].tools.find(tool => tool.type === 'namespace' && tool.name === 'mcp__notes');
        assert.equal(offered.tools[0].name, 'lookup');
        const added = assertContinues(turns[0].input, turns[1].input);
        const call = added.find(item => item.type === 'function_call');
        assert.equal(call.name, 'lookup');
        assert.equal(call.namespace, 'mcp__notes');
        const output = added.find(item => item.type === 'function_call_output');
        assert.equal(output.call_id, call.call_id);
        assert.match(JSON.stringify(output.output), /lookup: tea is green/);
        assert.deepEqual(asked, []);
    });
});
