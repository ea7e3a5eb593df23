// The package `@anthropic-ai/sdk`: messages.
import Anthropic from '@anthropic-ai/sdk';
import {betaTool} from '@anthropic-ai/sdk/helpers/beta/json-schema';
import assert from 'node:assert/strict';
import {after, before, describe, it} from 'node:test';

import {collect, idle, noDsml, weatherSchema, whileBusy} from '../support/helpers.mjs';
import {startServer} from '../support/server.mjs';

const script = new URL('script.json', import.meta.url).pathname;
const weather = {name: 'get_weather', description: 'Weather', input_schema: weatherSchema};
const time = {name: 'get_time', input_schema: {type: 'object', properties: {}}};
const user = content => ({role: 'user', content});

const client = (server, options = {}) =>
    new Anthropic({baseURL: server.url, apiKey: 'none', authToken: null, maxRetries: 0, ...options});
const inputTokens = usage => usage.input_tokens + usage.cache_read_input_tokens + usage.cache_creation_input_tokens;
const text = message => message.content.filter(b => b.type === 'text').map(b => b.text).join('');
const types = message => message.content.map(b => b.type);

// What must hold of every stream; returns the types of its blocks.
function checkStream(events) {
    assert.equal(events[0].type, 'message_start');
    assert.ok(events[0].message.usage.input_tokens > 0);
    assert.deepEqual(events[0].message.content, []);
    assert.equal(events[0].message.stop_reason, null);
    assert.deepEqual(events.slice(-2).map(e => e.type), ['message_delta', 'message_stop']);
    const blocks = [];
    let open = false;
    for (const event of events.slice(1, -2)) {
        if (event.type === 'ping') continue;
        if (event.type === 'content_block_start') {
            assert.ok(!open);
            open = true;
            assert.equal(event.index, blocks.length);
            blocks.push(event.content_block.type);
        } else {
            assert.ok(open);
            assert.equal(event.index, blocks.length - 1);
            assert.ok(['content_block_delta', 'content_block_stop'].includes(event.type), event.type);
            open = event.type !== 'content_block_stop';
        }
    }
    assert.ok(!open);
    return blocks;
}

describe('messages of a scripted model', {timeout: 120_000}, () => {
    let server, anthropic;
    before(async () => {
        server = await startServer({scripted: script});
        anthropic = client(server);
    });
    after(() => server.stop());
    const params = (content, more = {}) => ({model: 'claude-x', max_tokens: 1000, messages: [user(content)], ...more});
    const create = (content, more) => anthropic.messages.create(params(content, more));

    it('answers', async () => {
        const message = await create('hello', {system: 'Be kind.', metadata: {user_id: 'u'}});
        assert.match(message.id, /^msg_/);
        assert.match(message._request_id, /^req_/);
        assert.equal(message.type, 'message');
        assert.equal(message.role, 'assistant');
        assert.equal(message.model, 'claude-x');
        assert.deepEqual(message.content, [{type: 'text', text: 'Hello there, friend.'}]);
        assert.equal(message.stop_reason, 'end_turn');
        assert.equal(message.stop_sequence, null);
        assert.ok(message.usage.input_tokens > 0 && message.usage.output_tokens > 0);
        for (const name of ['timings', 'choices', 'object']) assert.ok(!(name in message));
    });

    it('streams', async () => {
        const events = await collect(await create('hello', {stream: true}));
        assert.deepEqual(checkStream(events), ['text']);
        assert.equal(events.map(e => e.delta?.text ?? '').join(''), 'Hello there, friend.');
        assert.ok(events.length > 15);
        assert.equal(events.at(-2).delta.stop_reason, 'end_turn');
        assert.ok(events.at(-2).usage.output_tokens > 0);
    });

    it('works with the helper stream()', async () => {
        const stream = anthropic.messages.stream(params('weather in Paris', {tools: [weather], thinking: {type: 'enabled', budget_tokens: 1024}}));
        let said = '', thought = '', json = '', input;
        stream.on('text', delta => { said += delta; });
        stream.on('thinking', delta => { thought += delta; });
        stream.on('inputJson', (delta, snapshot) => { json += delta; input = snapshot; });
        const final = await stream.finalMessage();
        assert.equal(said, 'Let me look.');
        assert.equal(thought, 'I have to look.');
        assert.deepEqual(JSON.parse(json), {city: 'Paris', days: 2});
        assert.deepEqual(input, {city: 'Paris', days: 2});
        assert.deepEqual(types(final), ['thinking', 'text', 'tool_use']);
        assert.deepEqual(final.content[2].input, {city: 'Paris', days: 2});
        assert.ok(final.content[0].signature);
        assert.equal(final.stop_reason, 'tool_use');
        const whole = await create('weather in Paris', {tools: [weather], thinking: {type: 'enabled', budget_tokens: 1024}});
        assert.deepEqual(final.usage, whole.usage);
        assert.match(stream.request_id ?? '', /^req_/);
    });

    it('calls a tool and goes on with its result', async () => {
        for (const stream of [false, true]) {
            const ask = messages => {
                const body = {model: 'claude-x', max_tokens: 1000, tools: [weather], messages};
                return stream ? anthropic.messages.stream(body).finalMessage() : anthropic.messages.create(body);
            };
            const question = user('weather in Paris');
            const first = await ask([question]);
            assert.equal(first.stop_reason, 'tool_use');
            const call = first.content.at(-1);
            assert.ok(call.id);
            assert.equal(call.name, 'get_weather');
            const second = await ask([question, {role: 'assistant', content: first.content},
                                      user([{type: 'tool_result', tool_use_id: call.id, content: 'sunny'}])]);
            assert.equal(text(second), 'It is sunny in Paris.');
            assert.equal(second.stop_reason, 'end_turn');
        }
    });

    it('makes parallel calls, or one, and takes their results with text', async () => {
        const first = await create('compare', {tools: [weather]});
        assert.deepEqual(first.content.map(b => b.input), [{city: 'Paris'}, {city: 'Rome', units: ['C', 'F']}]);
        const [one, two] = first.content;
        assert.notEqual(one.id, two.id);
        const second = await anthropic.messages.create({
            model: 'claude-x', max_tokens: 1000, tools: [weather],
            messages: [user('compare'), {role: 'assistant', content: first.content},
                       user([{type: 'tool_result', tool_use_id: two.id, content: [{type: 'text', text: '25'}]},
                             {type: 'tool_result', tool_use_id: one.id, is_error: true, content: 'no such city'}])]});
        assert.equal(text(second), 'Rome is warmer.');
        const third = await anthropic.messages.create({
            model: 'claude-x', max_tokens: 1000, tools: [weather],
            messages: [user('compare'), {role: 'assistant', content: first.content},
                       user([{type: 'tool_result', tool_use_id: one.id}, {type: 'tool_result', tool_use_id: two.id, content: '25'},
                             {type: 'text', text: 'hello'}])]});
        assert.equal(text(third), 'Hello there, friend.');
        const single = await create('compare', {tools: [weather], tool_choice: {type: 'auto', disable_parallel_tool_use: true}});
        assert.equal(single.content.filter(b => b.type === 'tool_use').length, 1);
        assert.deepEqual((await create('time please', {tools: [time]})).content[0].input, {});
    });

    it('honours tool_choice and leaves out tools of the original service', async () => {
        const tools = [weather, {type: 'web_search_20250305', name: 'web_search', max_uses: 3}, {type: 'custom', ...time}];
        const choose = async tool_choice => types(await create('weather in Paris', {tools, tool_choice}));
        assert.ok(!(await choose({type: 'none'})).includes('tool_use'));
        for (const choice of [{type: 'auto'}, {type: 'any'}, {type: 'tool', name: 'get_weather'}])
            assert.ok((await choose(choice)).includes('tool_use'));
        await assert.rejects(choose({type: 'tool', name: 'nope'}), Anthropic.BadRequestError);
    });

    it('repairs malformed calls and leaks no tags', async () => {
        const final = await anthropic.messages.stream(params('malformed', {tools: [weather]})).finalMessage();
        assert.deepEqual(types(final), ['text', 'tool_use']);
        assert.equal(final.content[0].text, 'Here.');
        assert.deepEqual(final.content[1].input, {city: 'Oslo', days: 'three'});
    });

    it('gives a call that the limit cut an object as input', async () => {
        const message = await anthropic.messages.stream(params('cut call', {tools: [weather]})).finalMessage();
        assert.equal(message.stop_reason, 'max_tokens');
        for (const block of message.content) if (block.type === 'tool_use') assert.equal(typeof block.input, 'object');
    });

    it('thinks as told', async () => {
        for (const thinking of [{type: 'enabled', budget_tokens: 2000}, {type: 'adaptive'}]) {
            const message = await create('think', {thinking});
            assert.deepEqual(types(message), ['thinking', 'text']);
            assert.equal(message.content[0].thinking, 'The user wants a thought.');
            assert.ok(message.content[0].signature.length > 0);
            const events = await collect(await create('think', {thinking, stream: true}));
            assert.deepEqual(checkStream(events), ['thinking', 'text']);
            assert.ok(events.some(e => e.delta?.type === 'signature_delta'));
            const next = await anthropic.messages.create({
                model: 'claude-x', max_tokens: 100, thinking,
                messages: [user('think'), {role: 'assistant', content: message.content}, user('hello')]});
            assert.equal(text(next), 'Hello there, friend.');
        }
        for (const thinking of [{type: 'disabled'}, undefined])
            assert.deepEqual(types(await create('think', {thinking})), ['text']);
    });

    it('stops at limits and stop sequences', async () => {
        const limited = await create('count', {max_tokens: 4});
        assert.equal(limited.stop_reason, 'max_tokens');
        assert.ok(limited.usage.output_tokens <= 4);
        const stopped = await create('count', {stop_sequences: ['six', ' four']});
        assert.equal(stopped.stop_reason, 'stop_sequence');
        assert.equal(stopped.stop_sequence, ' four');
        assert.equal(text(stopped), 'one two three');
    });

    it('counts tokens exactly', async () => {
        const body = params('weather in Paris', {system: [{type: 'text', text: 'Be kind.', cache_control: {type: 'ephemeral'}}], tools: [weather]});
        const {max_tokens, ...counted} = body;
        const count = await anthropic.messages.countTokens(counted);
        assert.deepEqual(Object.keys(count).filter(key => !key.startsWith('_')), ['input_tokens']);
        assert.equal(count.input_tokens, inputTokens((await anthropic.messages.create(body)).usage));
        const [start] = await collect(await anthropic.messages.create({...body, stream: true}));
        assert.equal(start.message.usage.input_tokens, count.input_tokens);
    });

    it('takes all forms of content', async () => {
        const message = await anthropic.messages.create({
            model: 'claude-x', max_tokens: 100,
            system: [{type: 'text', text: 'x-anthropic-billing-header: cc_version=1;'}, {type: 'text', text: 'Be kind.'}],
            messages: [user([{type: 'text', text: 'what?'}, {type: 'image', source: {type: 'base64', media_type: 'image/png', data: 'AA=='}}]),
                       {role: 'assistant', content: 'An image.'}, user([{type: 'text', text: 'hello', cache_control: {type: 'ephemeral'}}])],
            temperature: 0, top_k: 1, top_p: 1, service_tier: 'auto'});
        assert.equal(text(message), 'Hello there, friend.');
    });

    it('serves the beta', async () => {
        const betas = ['interleaved-thinking-2025-05-14', 'context-management-2025-06-27'];
        const body = params('think', {betas, thinking: {type: 'adaptive'}, context_management: {edits: []}});
        const message = await anthropic.beta.messages.create(body);
        assert.deepEqual(types(message), ['thinking', 'text']);
        const final = await anthropic.beta.messages.stream(body).finalMessage();
        assert.deepEqual(final.content.map(b => b.text), message.content.map(b => b.text));
        const {max_tokens, ...counted} = body;
        assert.equal((await anthropic.beta.messages.countTokens(counted)).input_tokens, inputTokens(message.usage));
    });

    it('works with the tool runner of the beta, whole and streamed', async () => {
        for (const stream of [false, true]) {
            const asked = [];
            const tool = betaTool({name: 'get_weather', description: 'Weather', inputSchema: weatherSchema,
                                   run: input => { asked.push(input); return 'sunny'; }});
            const runner = anthropic.beta.messages.toolRunner(params('compare', {tools: [tool], stream}));
            const final = stream ? await runner.runUntilDone() : await runner;
            assert.equal(text(final), 'Rome is warmer.');
            assert.deepEqual(asked, [{city: 'Paris'}, {city: 'Rome', units: ['C', 'F']}]);
        }
    });

    it('fails with the classes of the library', async () => {
        await assert.rejects(create('hello', {temperature: 'hot'}), e => {
            assert.ok(e instanceof Anthropic.BadRequestError);
            assert.equal(e.status, 400);
            assert.equal(e.error.type, 'error');
            assert.equal(e.error.error.type, 'invalid_request_error');
            assert.match(e.error.error.message, /^temperature: expected/);
            assert.match(e.requestID, /^req_/);
            assert.equal(e.requestID, e.error.request_id);
            return true;
        });
        await assert.rejects(anthropic.messages.create({model: 'x', max_tokens: 1, messages: []}), Anthropic.BadRequestError);
        await assert.rejects(create('x'.repeat(70_000)), e => e instanceof Anthropic.BadRequestError &&
            /^prompt is too long: \d+ tokens > 20000 maximum$/.test(e.error.error.message));
        await assert.rejects(create('hello', {output_config: {format: {type: 'json_schema', schema: {type: 'nothing'}}}}),
                             Anthropic.BadRequestError);
        await assert.rejects(create('break'), e => e instanceof Anthropic.InternalServerError &&
            e.error.error.type === 'api_error' && /^req_/.test(e.requestID));
        await assert.rejects(anthropic.get('/v1/messages/batches'), Anthropic.NotFoundError);
    });

    it('reports an error inside of a stream', async () => {
        await assert.rejects(create('break', {stream: true}).then(collect),
                             e => e instanceof Anthropic.APIError && /the script says so/.test(e.message));
        await assert.rejects(anthropic.messages.stream(params('break')).finalMessage(), Anthropic.APIError);
    });

    it('notices that the client has gone', async () => {
        const stream = anthropic.messages.stream(params('slow'));
        stream.on('text', () => stream.abort());
        await assert.rejects(stream.finalMessage(), Anthropic.APIUserAbortError);
        await idle(server);
        for await (const event of await create('slow', {stream: true})) if (event.type === 'content_block_delta') break;
        await idle(server);
        assert.equal(text(await create('hello')), 'Hello there, friend.');
    });

    it('keeps the connection alive while a call is held back', async () => {
        const sum = {name: 'sum', input_schema: {type: 'object', properties: {numbers: {type: 'array'}}}};
        // The library hides pings, so this looks at the bytes.
        const response = await anthropic.messages.create(params('hold', {tools: [sum], stream: true})).asResponse();
        let last = Date.now(), longest = 0, bytes = '';
        for await (const chunk of response.body) {
            longest = Math.max(longest, Date.now() - last);
            last = Date.now();
            bytes += Buffer.from(chunk).toString();
        }
        assert.match(bytes, /event: ping/);
        assert.ok(longest < 6_000, `silent for ${longest} ms`);
    });

    it('lists models', async () => {
        const models = await collect(anthropic.models.list());
        assert.deepEqual(models.map(m => m.id), ['scripted']);
        assert.equal((await anthropic.models.retrieve('scripted')).id, 'scripted');
    });
});

describe('messages with keys and a full queue', {timeout: 60_000}, () => {
    it('wants a key, in either header', async () => {
        const server = await startServer({scripted: script, args: ['--api-key', 'secret']});
        const ask = options => client(server, options).messages.create({model: 'x', max_tokens: 100, messages: [user('hello')]});
        await assert.rejects(ask({apiKey: 'wrong'}), e => e instanceof Anthropic.AuthenticationError &&
            e.error.type === 'error' && e.error.error.type === 'authentication_error');
        assert.equal(text(await ask({apiKey: 'secret'})), 'Hello there, friend.');
        assert.equal(text(await ask({apiKey: null, authToken: 'secret'})), 'Hello there, friend.');
        await server.stop();
    });

    it('refuses with RateLimitError when the queue is full', async () => {
        const server = await startServer({scripted: script, args: ['--queue', '1']});
        const ask = (content, signal, options) => client(server, options).messages.create(
            {model: 'x', max_tokens: 1000, messages: [user(content)]}, {signal});
        await whileBusy(server, ask, async free => {
            await assert.rejects(ask('hello'), e => e instanceof Anthropic.RateLimitError &&
                Number(e.headers.get('retry-after')) >= 1 && e.error.error.type === 'rate_limit_error');
            const retried = ask('hello', undefined, {maxRetries: 5});
            setTimeout(free, 200);
            assert.equal(text(await retried), 'Hello there, friend.');
        });
        await server.stop();
    });
});

describe('messages of the nano model', {timeout: 120_000}, () => {
    let server, anthropic;
    before(async () => {
        server = await startServer();
        anthropic = client(server);
    });
    after(() => server.stop());
    const params = (content, more = {}) => ({model: 'nano', max_tokens: 24, temperature: 0, messages: [user(content)], ...more});

    it('answers, the same each time, whole or streamed', async () => {
        for (const thinking of [{type: 'disabled'}, {type: 'adaptive'}]) {
            const first = await anthropic.messages.create(params('Hello', {thinking}));
            assert.ok(['end_turn', 'max_tokens'].includes(first.stop_reason));
            const said = m => m.content.map(b => b.text ?? b.thinking);
            const again = await anthropic.messages.create(params('Hello', {thinking}));
            assert.deepEqual(said(again), said(first));
            assert.ok(again.usage.cache_read_input_tokens > 0);
            assert.equal(inputTokens(again.usage), inputTokens(first.usage));
            const streamed = await anthropic.messages.stream(params('Hello', {thinking})).finalMessage();
            assert.deepEqual(said(streamed), said(first));
            assert.equal(streamed.usage.output_tokens, first.usage.output_tokens);
        }
    });

    it('counts tokens exactly, also of a conversation with remembered calls', async () => {
        const body = params('Weather?', {tools: [weather], tool_choice: {type: 'any'}, max_tokens: 48});
        const first = await anthropic.messages.create(body);
        noDsml(text(first));
        const call = first.content.find(b => b.type === 'tool_use');
        assert.equal(call.name.length > 0, true);
        const messages = [...body.messages, {role: 'assistant', content: first.content},
                          user([{type: 'tool_result', tool_use_id: call.id, content: 'sunny'}])];
        const {max_tokens, temperature, ...counted} = {...body, tool_choice: undefined, messages};
        const second = await anthropic.messages.create({...counted, max_tokens, temperature});
        assert.equal((await anthropic.messages.countTokens(counted)).input_tokens, inputTokens(second.usage));
    });

    it('stops working when the client goes', async () => {
        const stream = anthropic.messages.stream(params('Tell me a long story', {max_tokens: 20_000, temperature: 2, thinking: {type: 'adaptive'}}));
        stream.on('streamEvent', e => { if (e.type === 'content_block_delta') stream.abort(); });
        await assert.rejects(stream.finalMessage(), Anthropic.APIUserAbortError);
        await idle(server);
    });
});
