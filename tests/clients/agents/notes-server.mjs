// An MCP server on standard input and output, with one tool, for agents to be tested with.
import {createInterface} from 'node:readline';

const tool = {
    name: 'lookup',
    description: 'Finds a note.',
    inputSchema: {type: 'object', properties: {topic: {type: 'string'}}, required: ['topic']},
};

const results = {
    'initialize': params => ({
        protocolVersion: params.protocolVersion, capabilities: {tools: {}}, serverInfo: {name: 'notes', version: '1'},
    }),
    'tools/list': () => ({tools: [tool]}),
    'tools/call': params => ({content: [{type: 'text', text: `${params.name}: ${params.arguments.topic} is green`}]}),
};

for await (const line of createInterface({input: process.stdin})) {
    const {id, method, params} = JSON.parse(line);
    if (id === undefined) continue;  // a notification
    const result = results[method]?.(params) ?? {};
    process.stdout.write(`${JSON.stringify({jsonrpc: '2.0', id, result})}\n`);
}
