// The package `openai`: responses.
import assert from 'node:assert/strict';
import {after, before, describe, it} from 'node:test';
import OpenAI from 'openai';

import {collect, idle, noDsml, weatherSchema} from '../support/helpers.mjs';
import {startServer} from '../support/server.mjs';

const script = new URL('script.json', import.meta.url).pathname;
const weather = {type: 'function', name: 'get_weather', description: 'Weather', strict: false, parameters: weatherSchema};
const time = {type: 'function', name: 'get_time', strict: false, parameters: {type: 'object', properties: {}}};

const client = server => new OpenAI({baseURL: `${server.url}/v1`, apiKey: 'none', maxRetries: 0});

// What must hold of every stream: numbered events, the life cycle of the response, of its items and of their parts,
// and deltas that add up to what is done.
function checkStream(events) {
    events.forEach((event, i) => assert.equal(event.sequence_number, i, event.type));
    const types = events.map(e => e.type);
    assert.deepEqual(types.slice(0, 2), ['response.created', 'response.in_progress']);
    assert.match(types.at(-1), /^response\.(completed|incomplete|failed)$/);
    assert.equal(events[0].response.status, 'in_progress');
    assert.equal(new Set(events.filter(e => e.response).map(e => e.response.id)).size, 1);
    const {response} = events.at(-1);
    assert.equal(response.status, types.at(-1).slice('response.'.length));
    const open = new Map();
    const deltas = new Map();
    for (const event of events.slice(2, -1)) {
        if (event.type === 'response.in_progress' || event.type === 'error') continue;
        assert.ok(Number.isInteger(event.output_index), event.type);
        if (event.type === 'response.output_item.added') {
            assert.equal(event.output_index, open.size);
            assert.equal(event.item.status, 'in_progress');
            open.set(event.output_index, event.item);
            continue;
        }
        const item = open.get(event.output_index);
        assert.ok(item, `${event.type} before its item`);
        if (event.type === 'response.output_item.done') {
            assert.equal(event.item.id, item.id);
            assert.deepEqual(event.item, response.output[event.output_index]);
            continue;
        }
        assert.equal(event.item_id, item.id, event.type);
        const [, kind, step] = event.type.match(/^response\.(\w+)\.(added|delta|done)$/) ?? [];
        assert.ok(kind, event.type);
        const key = `${event.output_index} ${kind}`;
        if (step === 'delta') {
            assert.equal(typeof event.delta, 'string');
            deltas.set(key, (deltas.get(key) ?? '') + event.delta);
        } else if (step === 'done' && !event.part) {
            assert.equal(event.text ?? event.arguments, deltas.get(key) ?? '', event.type);
        }
    }
    assert.equal(response.output.length, open.size);
    return response;
}

describe('responses of a scripted model', {timeout: 120_000}, () => {
    let server, openai;
    before(async () => {
        server = await startServer({scripted: script});
        openai = client(server);
    });
    after(() => server.stop());
    const create = (input, more = {}) => openai.responses.create({model: 'gpt-5', input, ...more});
    const streamed = async (input, more = {}) => collect(await create(input, {...more, stream: true}));

    it('answers', async () => {
        const response = await create('hello', {instructions: 'Be kind.', metadata: {a: 'b'}});
        assert.match(response.id, /^resp_/);
        assert.equal(response.object, 'response');
        assert.equal(response.status, 'completed');
        assert.equal(response.model, 'gpt-5');
        assert.equal(response.output_text, 'Hello there, friend.');
        assert.equal(response.instructions, 'Be kind.');
        assert.deepEqual(response.metadata, {a: 'b'});
        assert.equal(response.error, null);
        assert.equal(response.incomplete_details, null);
        assert.equal(response.output[0].type, 'message');
        assert.equal(response.output[0].status, 'completed');
        assert.deepEqual(response.output[0].content[0].annotations, []);
        const {usage} = response;
        assert.equal(usage.total_tokens, usage.input_tokens + usage.output_tokens);
        assert.equal(usage.input_tokens_details.cached_tokens, 0);
        assert.equal(usage.output_tokens_details.reasoning_tokens, 0);
    });

    it('streams all events in order', async () => {
        const events = await streamed('hello');
        const response = checkStream(events);
        assert.deepEqual([...new Set(events.map(e => e.type))], [
            'response.created', 'response.in_progress', 'response.output_item.added', 'response.content_part.added',
            'response.output_text.delta', 'response.output_text.done', 'response.content_part.done',
            'response.output_item.done', 'response.completed']);
        assert.ok(events.length > 15);
        const {output, usage} = await create('hello');
        assert.deepEqual(response.usage, usage);
        assert.deepEqual(response.output[0].content, output[0].content);
    });

    it('works with the helper stream()', async () => {
        const stream = openai.responses.stream({model: 'gpt-5', input: 'weather in Paris', tools: [weather]});
        let text = '', args = '';
        stream.on('response.output_text.delta', e => { text += e.delta; assert.equal(e.snapshot, text); });
        stream.on('response.function_call_arguments.delta', e => { args += e.delta; });
        const final = await stream.finalResponse();
        assert.equal(text, 'Let me look.');
        assert.deepEqual(JSON.parse(args), {city: 'Paris', days: 2});
        assert.equal(final.output_text, text);
        assert.equal(final.output.at(-1).name, 'get_weather');
    });

    it('works with the helper parse()', async () => {
        const response = await openai.responses.parse({model: 'gpt-5', input: 'hello'});
        assert.equal(response.output_text, 'Hello there, friend.');
    });

    it('calls a tool and goes on with its result', async () => {
        for (const stream of [false, true]) {
            const ask = async input => stream
                ? checkStream(await streamed(input, {tools: [weather]})) : await create(input, {tools: [weather]});
            const input = [{role: 'user', content: 'weather in Paris'}];
            const first = await ask(input);
            assert.deepEqual(first.output.map(i => i.type), ['reasoning', 'message', 'function_call']);
            const call = first.output[2];
            assert.match(call.id, /^fc_/);
            assert.match(call.call_id, /^call_/);
            assert.equal(call.status, 'completed');
            assert.deepEqual(JSON.parse(call.arguments), {city: 'Paris', days: 2});
            const second = await ask([...input, ...first.output,
                                      {type: 'function_call_output', call_id: call.call_id, output: 'sunny'}]);
            assert.equal(second.output.at(-1).content[0].text, 'It is sunny in Paris.');
            assert.ok(second.usage.input_tokens > first.usage.input_tokens);
        }
    });

    it('makes parallel calls, or one', async () => {
        const calls = r => r.output.filter(i => i.type === 'function_call').map(i => JSON.parse(i.arguments));
        assert.deepEqual(calls(checkStream(await streamed('compare', {tools: [weather]}))),
                         [{city: 'Paris'}, {city: 'Rome', units: ['C', 'F']}]);
        assert.deepEqual(calls(await create('compare', {tools: [weather], parallel_tool_calls: false})), [{city: 'Paris'}]);
        assert.deepEqual(calls(checkStream(await streamed('time please', {tools: [time]}))), [{}]);
    });

    it('takes several outputs, also as parts', async () => {
        const input = [{role: 'user', content: 'compare'}];
        const first = await create(input, {tools: [weather]});
        const outputs = first.output.filter(i => i.type === 'function_call').map((call, i) => ({
            type: 'function_call_output', call_id: call.call_id,
            output: i ? [{type: 'input_text', text: '25'}] : '20'}));
        const second = await create([...input, ...first.output, ...outputs], {tools: [weather]});
        assert.equal(second.output_text, 'Rome is warmer.');
    });

    it('honours tool_choice and leaves out tools that run at a provider', async () => {
        const tools = [weather, {type: 'web_search'}, {type: 'custom', name: 'patch'}];
        const choose = async (tool_choice, more = []) =>
            (await create('weather in Paris', {tools: [...tools, ...more], tool_choice})).output.map(i => i.type);
        const refuses = (choice, param, more) => assert.rejects(
            choose(choice, more), e => e instanceof OpenAI.BadRequestError && e.param === param);
        assert.deepEqual((await choose('none')).includes('function_call'), false);
        for (const choice of ['auto', 'required', {type: 'function', name: 'get_weather'},
                              {type: 'allowed_tools', mode: 'auto', tools: [weather]}])
            assert.ok((await choose(choice)).includes('function_call'), JSON.stringify(choice));
        await refuses({type: 'function', name: 'nope'}, 'tool_choice.name');
        await refuses({type: 'web_search'}, 'tool_choice.type');
        await refuses('auto', 'tools[3].type', [{type: 'local_shell'}]);
    });

    it('repairs malformed calls and leaks no tags', async () => {
        const response = checkStream(await streamed('malformed', {tools: [weather]}));
        const message = response.output.find(i => i.type === 'message');
        assert.equal(message.content[0].text, 'Here.');
        const call = response.output.find(i => i.type === 'function_call');
        noDsml(call.arguments);
        assert.deepEqual(JSON.parse(call.arguments), {city: 'Oslo', days: 'three'});
    });

    it('marks a call that the limit cut as incomplete', async () => {
        const response = checkStream(await streamed('cut call', {tools: [weather]}));
        assert.equal(response.status, 'incomplete');
        assert.equal(response.incomplete_details.reason, 'max_output_tokens');
        assert.equal(response.output.at(-1).status, 'incomplete');
    });

    it('shows reasoning as content, as a summary, and for sending back', async () => {
        const plain = checkStream(await streamed('think'));
        assert.deepEqual(plain.output.map(i => i.type), ['reasoning', 'message']);
        assert.deepEqual(plain.output[0].content, [{type: 'reasoning_text', text: 'The user wants a thought.'}]);
        assert.deepEqual(plain.output[0].summary, []);
        assert.ok(plain.usage.output_tokens_details.reasoning_tokens > 0);

        const events = await streamed('think', {reasoning: {effort: 'high', summary: 'auto'}, store: false,
                                                include: ['reasoning.encrypted_content']});
        const summed = checkStream(events);
        assert.ok(events.some(e => e.type === 'response.reasoning_summary_text.delta'));
        assert.deepEqual(summed.output[0].summary, [{type: 'summary_text', text: 'The user wants a thought.'}]);
        assert.ok(summed.output[0].encrypted_content);
        const next = await create([{role: 'user', content: 'think'}, ...summed.output, {role: 'user', content: 'hello'}]);
        assert.equal(next.output_text, 'Hello there, friend.');

        const none = await create('think', {reasoning: {effort: 'none'}});
        assert.deepEqual(none.output.map(i => i.type), ['message']);
    });

    it('is incomplete at max_output_tokens', async () => {
        const response = checkStream(await streamed('count', {max_output_tokens: 4, reasoning: {effort: 'none'}}));
        assert.equal(response.status, 'incomplete');
        assert.deepEqual(response.incomplete_details, {reason: 'max_output_tokens'});
        assert.equal(response.output[0].status, 'incomplete');
        assert.ok(response.usage.output_tokens <= 4);
        assert.equal((await create('count', {max_output_tokens: 4})).status, 'incomplete');
    });

    it('gives log-probabilities', async () => {
        const response = await create('hello', {include: ['message.output_text.logprobs'], top_logprobs: 1});
        const {text, logprobs} = response.output[0].content[0];
        assert.equal(logprobs.map(t => t.token).join(''), text);
        assert.ok(logprobs.every(t => t.top_logprobs.length === 1));
    });

    it('understands text.format', async () => {
        const response = await create('json', {text: {format: {type: 'json_object'}, verbosity: 'low'}});
        assert.equal(JSON.parse(response.output_text).answer, 42);
        await assert.rejects(create('json', {text: {format: {type: 'json_schema', name: 'x', schema: {type: 'nothing'}}}}),
                             e => e instanceof OpenAI.BadRequestError && e.param.startsWith('text.format.schema'));
    });

    it('takes all forms of input', async () => {
        const response = await create([
            {role: 'developer', content: 'Be brief.'},
            {type: 'message', role: 'user', content: [{type: 'input_text', text: 'what?'}, {type: 'input_image', image_url: 'data:,', detail: 'auto'}]},
            {type: 'message', role: 'assistant', id: 'msg_1', status: 'completed', content: [{type: 'output_text', text: 'An image.', annotations: []}]},
            {type: 'web_search_call', id: 'ws_1', status: 'completed'},
            {role: 'user', content: 'hello'}]);
        assert.equal(response.output_text, 'Hello there, friend.');
        assert.equal((await create([], {max_output_tokens: 1})).object, 'response');
    });

    it('fails with the classes of the library and names its own fields', async () => {
        const rejects = (promise, check) => assert.rejects(promise, e => e instanceof OpenAI.BadRequestError && (check(e), true));
        await rejects(create('hello', {previous_response_id: 'resp_1'}), e => {
            assert.equal(e.param, 'previous_response_id');
            assert.match(e.message, /not stored/);
        });
        await rejects(create('hello', {temperature: 9}), e => assert.equal(e.param, 'temperature'));
        await rejects(create([{role: 'king', content: 'x'}]), e => assert.equal(e.param, 'input[0].role'));
        await rejects(create([{role: 'user', content: 'x'}, {type: 'function_call', call_id: 'c', name: 'f', arguments: '{}'}]), e => {
            assert.equal(e.param, 'input');
            assert.match(e.message, /input: the conversation ends with calls/);
            assert.doesNotMatch(e.message, /message/);
        });
        await rejects(create('x'.repeat(70_000)), e => {
            assert.equal(e.code, 'context_length_exceeded');
            assert.equal(e.param, 'input');
        });
        await assert.rejects(create('break'), OpenAI.InternalServerError);
        await assert.rejects(openai.responses.retrieve('resp_1'), OpenAI.NotFoundError);
        await assert.rejects(openai.responses.delete('resp_1'), OpenAI.NotFoundError);
        await assert.rejects(openai.responses.cancel('resp_1'), OpenAI.NotFoundError);
    });

    it('reports errors inside of a stream', async () => {
        await assert.rejects(streamed('break'), e => e instanceof OpenAI.APIError && /the script says so/.test(e.message));
        await assert.rejects(streamed('x'.repeat(70_000)), e => e instanceof OpenAI.APIError && e.code === 'context_length_exceeded');
    });

    it('notices that the client has gone', async () => {
        for await (const event of await create('slow', {stream: true}))
            if (event.type === 'response.output_text.delta') break;
        await idle(server);
        const controller = new AbortController();
        setTimeout(() => controller.abort(), 100);
        await assert.rejects(openai.responses.create({model: 'x', input: 'slow'}, {signal: controller.signal}), OpenAI.APIUserAbortError);
        await idle(server);
    });

    it('keeps the connection alive with events while a call is held back', async () => {
        const sum = {type: 'function', name: 'sum', strict: false, parameters: {type: 'object', properties: {numbers: {type: 'array'}}}};
        let last = Date.now(), longest = 0;
        const events = [];
        for await (const event of await create('hold', {tools: [sum], stream: true})) {
            longest = Math.max(longest, Date.now() - last);
            last = Date.now();
            events.push(event);
        }
        const response = checkStream(events);
        assert.equal(JSON.parse(response.output.at(-1).arguments).numbers.length, 60);
        assert.ok(longest < 6_000, `silent for ${longest} ms`);
    });
});

describe('responses of the nano model', {timeout: 120_000}, () => {
    let server, openai;
    before(async () => {
        server = await startServer();
        openai = client(server);
    });
    after(() => server.stop());
    const create = (input, more = {}) =>
        openai.responses.create({model: 'nano', input, temperature: 0, max_output_tokens: 24, ...more});

    it('answers, the same each time, whole or streamed', async () => {
        for (const effort of ['none', 'high']) {
            const first = await create('Hello', {reasoning: {effort}});
            assert.ok(['completed', 'incomplete'].includes(first.status));
            const texts = r => r.output.map(i => [i.type, i.content[0].text]);
            const again = await create('Hello', {reasoning: {effort}});
            assert.deepEqual(texts(again), texts(first));
            assert.ok(again.usage.input_tokens_details.cached_tokens > 0);
            const streamed = checkStream(await collect(await create('Hello', {reasoning: {effort}, stream: true})));
            assert.deepEqual(texts(streamed), texts(first));
            assert.equal(streamed.usage.output_tokens, first.usage.output_tokens);
        }
    });

    it('makes the call that it has to', async () => {
        const events = await collect(await create('Weather?', {
            tools: [weather], tool_choice: 'required', stream: true, max_output_tokens: 48, reasoning: {effort: 'none'}}));
        const response = checkStream(events);
        const call = response.output.find(i => i.type === 'function_call');
        JSON.parse(call.arguments);
        for (const item of response.output) noDsml(item.content?.[0].text);
    });
});
