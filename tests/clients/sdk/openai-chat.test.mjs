// The package `openai`: chat completions, legacy completions, models.
import assert from 'node:assert/strict';
import {after, before, describe, it} from 'node:test';
import OpenAI from 'openai';

import {collect, idle, noDsml, weatherSchema, whileBusy} from '../support/helpers.mjs';
import {startServer} from '../support/server.mjs';

const script = new URL('script.json', import.meta.url).pathname;
const weather = {type: 'function', function: {name: 'get_weather', description: 'Weather', parameters: weatherSchema}};
const time = {type: 'function', function: {name: 'get_time', parameters: {type: 'object', properties: {}}}};
const user = content => [{role: 'user', content}];

function client(server, options = {}) {
    return new OpenAI({baseURL: `${server.url}/v1`, apiKey: 'none', maxRetries: 0, ...options});
}

describe('chat completions of a scripted model', {timeout: 120_000}, () => {
    let server, openai;
    before(async () => {
        server = await startServer({scripted: script});
        openai = client(server);
    });
    after(() => server.stop());
    const create = (content, more = {}) =>
        openai.chat.completions.create({model: 'scripted', messages: user(content), ...more});

    it('answers', async () => {
        const answer = await create('hello');
        assert.match(answer.id, /^chatcmpl-/);
        assert.equal(answer.object, 'chat.completion');
        assert.equal(answer.model, 'scripted');
        assert.equal(answer.choices.length, 1);
        const [choice] = answer.choices;
        assert.equal(choice.message.role, 'assistant');
        assert.equal(choice.message.content, 'Hello there, friend.');
        assert.equal(choice.message.refusal, null);
        assert.ok(!('tool_calls' in choice.message));
        assert.equal(choice.finish_reason, 'stop');
        assert.equal(answer.usage.total_tokens, answer.usage.prompt_tokens + answer.usage.completion_tokens);
        assert.ok(answer.usage.prompt_tokens > 0 && answer.usage.completion_tokens > 0);
        assert.equal(answer.usage.prompt_tokens_details.cached_tokens, 0);
    });

    it('repeats the model as it was asked for', async () => {
        const answer = await openai.chat.completions.create({model: 'gpt-5', messages: user('hello')});
        assert.equal(answer.model, 'gpt-5');
        const stream = await openai.chat.completions.create({model: 'gpt-5', messages: user('hello'), stream: true});
        for (const chunk of await collect(stream)) assert.equal(chunk.model, 'gpt-5');
    });

    it('streams', async () => {
        const chunks = await collect(await create('hello', {stream: true}));
        assert.equal(chunks[0].choices[0].delta.role, 'assistant');
        assert.equal(chunks.map(c => c.choices[0].delta.content ?? '').join(''), 'Hello there, friend.');
        assert.ok(chunks.length > 10);
        assert.equal(new Set(chunks.map(c => c.id)).size, 1);
        assert.ok(chunks.every(c => c.object === 'chat.completion.chunk' && c.choices.length === 1 && !c.usage));
        assert.deepEqual(chunks.map(c => c.choices[0].finish_reason).filter(Boolean), ['stop']);
        assert.equal(chunks.at(-1).choices[0].finish_reason, 'stop');
    });

    it('streams characters that take several bytes', async () => {
        const chunks = await collect(await create('unicode', {stream: true}));
        assert.equal(chunks.map(c => c.choices[0].delta.content ?? '').join(''), 'naïve – 鲸鱼 🐋 " \\ \t end');
    });

    it('ends a stream with the usage if asked', async () => {
        const chunks = await collect(await create('hello', {stream: true, stream_options: {include_usage: true}}));
        const last = chunks.pop();
        assert.deepEqual(last.choices, []);
        assert.ok(chunks.every(c => c.usage === null));
        assert.deepEqual(last.usage, (await create('hello')).usage);
    });

    it('works with the helper stream()', async () => {
        const stream = openai.chat.completions.stream({model: 'scripted', messages: user('weather in Paris'), tools: [weather]});
        const seen = [];
        stream.on('content.delta', e => seen.push(e.delta));
        let parsed;
        stream.on('tool_calls.function.arguments.done', e => { parsed = e; });
        const final = await stream.finalChatCompletion();
        assert.equal(seen.join(''), 'Let me look.');
        assert.equal(parsed.name, 'get_weather');
        assert.equal(final.choices[0].finish_reason, 'tool_calls');
        assert.deepEqual(JSON.parse(final.choices[0].message.tool_calls[0].function.arguments), {city: 'Paris', days: 2});
    });

    it('works with the helper runTools(), whole and streamed', async () => {
        for (const stream of [false, true]) {
            const asked = [];
            const runner = openai.chat.completions.runTools({
                model: 'scripted', messages: user('compare'), stream,
                tools: [{type: 'function', function: {
                    ...weather.function, parse: JSON.parse,
                    function: args => { asked.push(args); return {degrees: asked.length * 10}; },
                }}],
            });
            assert.equal(await runner.finalContent(), 'Rome is warmer.');
            assert.deepEqual(asked, [{city: 'Paris'}, {city: 'Rome', units: ['C', 'F']}]);
            assert.equal(runner.messages.filter(m => m.role === 'tool').length, 2);
        }
    });

    it('calls a tool and goes on with its result', async () => {
        const first = await create('weather in Paris', {tools: [weather]});
        const {message, finish_reason} = first.choices[0];
        assert.equal(finish_reason, 'tool_calls');
        assert.equal(message.content, 'Let me look.');
        assert.equal(message.tool_calls.length, 1);
        const [call] = message.tool_calls;
        assert.match(call.id, /^call_.+/);
        assert.equal(call.type, 'function');
        assert.equal(call.function.name, 'get_weather');
        const second = await openai.chat.completions.create({
            model: 'scripted', tools: [weather],
            messages: [...user('weather in Paris'), message, {role: 'tool', tool_call_id: call.id, content: 'sunny'}],
        });
        assert.equal(second.choices[0].message.content, 'It is sunny in Paris.');
        assert.equal(second.choices[0].finish_reason, 'stop');
    });

    it('has no content beside bare calls', async () => {
        const {message} = (await create('time please', {tools: [time]})).choices[0];
        assert.equal(message.content, null);
        assert.equal(message.tool_calls[0].function.arguments, '{}');
    });

    it('streams parallel calls with index, id and name before arguments', async () => {
        const chunks = await collect(await create('compare', {tools: [weather], stream: true}));
        const deltas = chunks.flatMap(c => c.choices[0].delta.tool_calls ?? []);
        const heads = deltas.filter(d => d.id);
        assert.deepEqual(heads.map(d => [d.index, d.type, d.function.name]),
                         [[0, 'function', 'get_weather'], [1, 'function', 'get_weather']]);
        assert.notEqual(heads[0].id, heads[1].id);
        assert.ok(deltas.every(d => Number.isInteger(d.index) && typeof d.function.arguments === 'string'));
        const args = [0, 1].map(i => deltas.filter(d => d.index === i).map(d => d.function.arguments).join(''));
        assert.deepEqual(args.map(JSON.parse), [{city: 'Paris'}, {city: 'Rome', units: ['C', 'F']}]);
        assert.equal(chunks.at(-1).choices[0].finish_reason, 'tool_calls');
    });

    it('stops after one call without parallel_tool_calls', async () => {
        const answer = await create('compare', {tools: [weather], parallel_tool_calls: false});
        assert.equal(answer.choices[0].message.tool_calls.length, 1);
        assert.equal(answer.choices[0].finish_reason, 'tool_calls');
    });

    it('honours tool_choice', async () => {
        const choose = tool_choice => create('weather in Paris', {tools: [weather, time], tool_choice});
        assert.ok(!(await choose('none')).choices[0].message.tool_calls);
        for (const choice of ['auto', 'required', {type: 'function', function: {name: 'get_weather'}},
                              {type: 'allowed_tools', allowed_tools: {mode: 'auto', tools: [weather]}}])
            assert.equal((await choose(choice)).choices[0].message.tool_calls[0].function.name, 'get_weather');
        await assert.rejects(choose({type: 'function', function: {name: 'nope'}}),
                             e => e instanceof OpenAI.BadRequestError && e.param === 'tool_choice');
        await assert.rejects(create('weather in Paris', {tool_choice: 'required'}), OpenAI.BadRequestError);
    });

    it('repairs malformed calls and leaks no tags', async () => {
        for (const stream of [false, true]) {
            const helper = stream
                ? await openai.chat.completions.stream({model: 'scripted', messages: user('malformed'), tools: [weather]}).finalChatCompletion()
                : await create('malformed', {tools: [weather]});
            const {message} = helper.choices[0];
            assert.equal(message.content, 'Here.');
            noDsml(message.content);
            assert.equal(message.tool_calls.length, 1);
            noDsml(message.tool_calls[0].function.arguments);
            assert.deepEqual(JSON.parse(message.tool_calls[0].function.arguments), {city: 'Oslo', days: 'three'});
        }
    });

    it('shows no tag that belongs to no call', async () => {
        const {message} = (await create('stray tag', {tools: [weather]})).choices[0];
        assert.equal(message.content, 'The tag  ends a parameter.');
        assert.ok(!message.tool_calls);
    });

    it('gives a call that the limit cut as whole JSON with finish_reason length', async () => {
        const {message, finish_reason} = (await create('cut call', {tools: [weather]})).choices[0];
        assert.equal(finish_reason, 'length');
        for (const call of message.tool_calls ?? []) JSON.parse(call.function.arguments);
    });

    it('shows reasoning as reasoning_content', async () => {
        const answer = await create('think');
        assert.equal(answer.choices[0].message.reasoning_content, 'The user wants a thought.');
        assert.equal(answer.choices[0].message.content, 'Thought.');
        assert.ok(answer.usage.completion_tokens_details.reasoning_tokens > 0);
        const chunks = await collect(await create('think', {stream: true}));
        assert.equal(chunks.map(c => c.choices[0].delta.reasoning_content ?? '').join(''), 'The user wants a thought.');
        assert.equal(chunks.map(c => c.choices[0].delta.content ?? '').join(''), 'Thought.');
    });

    it('leaves reasoning out when told to', async () => {
        for (const more of [{reasoning_effort: 'none'}, {thinking: {type: 'disabled'}},
                            {chat_template_kwargs: {thinking: false}}]) {
            const answer = await create('think', more);
            assert.ok(!answer.choices[0].message.reasoning_content);
            assert.equal(answer.usage.completion_tokens_details.reasoning_tokens, 0);
        }
        for (const reasoning_effort of ['minimal', 'low', 'medium', 'high', 'xhigh'])
            assert.ok((await create('think', {reasoning_effort})).choices[0].message.reasoning_content);
    });

    it('gives log-probabilities', async () => {
        const {logprobs, message} = (await create('hello', {logprobs: true, top_logprobs: 1})).choices[0];
        assert.equal(logprobs.content.map(t => t.token).join(''), message.content);
        assert.ok(logprobs.content.every(t => t.logprob === 0 && t.top_logprobs.length === 1));
        const bytes = logprobs.content.flatMap(t => t.bytes);
        assert.equal(Buffer.from(bytes).toString(), message.content);
        const chunks = await collect(await create('hello', {logprobs: true, stream: true}));
        const streamed = chunks.flatMap(c => c.choices[0].logprobs?.content ?? []);
        assert.equal(streamed.map(t => t.token).join(''), message.content);
    });

    it('gives several choices', async () => {
        const answer = await create('hello', {n: 2});
        assert.deepEqual(answer.choices.map(c => c.index), [0, 1]);
        assert.ok(answer.choices.every(c => c.message.content === 'Hello there, friend.'));
        const chunks = await collect(await create('hello', {n: 2, stream: true}));
        for (const i of [0, 1]) {
            const own = chunks.filter(c => c.choices[0].index === i);
            assert.equal(own.map(c => c.choices[0].delta.content ?? '').join(''), 'Hello there, friend.');
            assert.equal(own.at(-1).choices[0].finish_reason, 'stop');
        }
    });

    it('stops at a stop string', async () => {
        for (const stop of ['four', ['six', ' four']]) {
            const answer = await create('count', {stop});
            assert.equal(answer.choices[0].message.content.trim(), 'one two three');
            assert.equal(answer.choices[0].finish_reason, 'stop');
        }
    });

    it('stops at a limit on tokens, by both names', async () => {
        for (const name of ['max_completion_tokens', 'max_tokens']) {
            const answer = await create('count', {[name]: 4, reasoning_effort: 'none'});
            assert.equal(answer.choices[0].finish_reason, 'length');
            assert.ok(answer.usage.completion_tokens <= 4);
            assert.ok('one two three four five'.startsWith(answer.choices[0].message.content));
        }
    });

    it('understands response_format', async () => {
        const answer = await create('json', {response_format: {type: 'json_object'}});
        assert.deepEqual(JSON.parse(answer.choices[0].message.content), {answer: 42, list: [1, 2]});
        assert.equal((await create('hello', {response_format: {type: 'text'}})).choices[0].message.content, 'Hello there, friend.');
        const schema = {type: 'json_schema', json_schema: {name: 'x', schema: {type: 'nothing'}}};
        await assert.rejects(create('json', {response_format: schema}),
                             e => e instanceof OpenAI.BadRequestError &&
                                  e.param.startsWith('response_format.json_schema.schema') &&
                                  e.type === 'invalid_request_error');
    });

    it('takes all roles and forms of content', async () => {
        const answer = await openai.chat.completions.create({
            model: 'scripted',
            messages: [
                {role: 'developer', content: 'Be brief.'},
                {role: 'system', content: [{type: 'text', text: 'Be kind.'}]},
                {role: 'user', content: [{type: 'text', text: 'what is this?'},
                                         {type: 'image_url', image_url: {url: 'data:image/png;base64,AA=='}}]},
                {role: 'assistant', content: [{type: 'text', text: 'An image.'}], refusal: null},
                {role: 'user', content: [{type: 'text', text: 'hello'}], name: 'ann'},
            ],
            store: false, user: 'ann', metadata: {a: 'b'}, service_tier: 'auto', prompt_cache_key: 'k', seed: 1,
            frequency_penalty: 0, presence_penalty: 0, logit_bias: {}, top_p: 1, temperature: 0,
        });
        assert.equal(answer.choices[0].message.content, 'Hello there, friend.');
    });

    it('fails with the classes of the library', async () => {
        await assert.rejects(create('hello', {temperature: 'hot'}),
                             e => e instanceof OpenAI.BadRequestError && e.status === 400 && e.param === 'temperature' &&
                                  e.type === 'invalid_request_error' && /temperature: expected/.test(e.message));
        await assert.rejects(create('hello', {temperature: -1}), e => e.param === 'temperature');
        await assert.rejects(openai.chat.completions.create({model: 'x', messages: []}),
                             e => e instanceof OpenAI.BadRequestError && e.param === 'messages');
        await assert.rejects(openai.chat.completions.create({model: 'x', messages: [{role: 'king', content: 'x'}]}),
                             e => e instanceof OpenAI.BadRequestError && e.param === 'messages[0].role');
        await assert.rejects(create('x'.repeat(70_000)),
                             e => e instanceof OpenAI.BadRequestError && e.code === 'context_length_exceeded' &&
                                  e.param === 'messages' && /maximum context length is 20000 tokens/.test(e.message));
        await assert.rejects(create('break'), e => e instanceof OpenAI.InternalServerError && e.status === 500);
        await assert.rejects(openai.get('/nothing/here'), OpenAI.NotFoundError);
        await assert.rejects(openai.embeddings.create({model: 'x', input: 'y'}), e => e instanceof OpenAI.APIError && e.status === 501);
    });

    it('reports an error inside of a stream', async () => {
        const stream = await create('break', {stream: true});
        await assert.rejects(collect(stream), e => e instanceof OpenAI.APIError && /the script says so/.test(e.message));
    });

    it('notices that the client has gone', async () => {
        const stream = await create('slow', {stream: true});
        let chunks = 0;
        for await (const chunk of stream) if (++chunks > 3 && chunk) break;  // leaving the loop closes the connection
        await idle(server);
        const controller = new AbortController();
        const whole = openai.chat.completions.create({model: 'scripted', messages: user('slow')}, {signal: controller.signal});
        setTimeout(() => controller.abort(), 100);
        await assert.rejects(whole, OpenAI.APIUserAbortError);
        await idle(server);
        assert.equal((await create('hello')).choices[0].message.content, 'Hello there, friend.');
    });

    it('keeps the connection alive while a call is held back', async () => {
        // The value of a parameter that is no string is sent when it is complete, after seven seconds.
        const sum = {type: 'function', function: {name: 'sum', parameters: {type: 'object', properties: {numbers: {type: 'array'}}}}};
        const stream = await create('hold', {tools: [sum], stream: true});
        let last = Date.now(), longest = 0, args = '';
        for await (const chunk of stream) {
            longest = Math.max(longest, Date.now() - last);
            last = Date.now();
            for (const call of chunk.choices[0].delta.tool_calls ?? []) args += call.function.arguments;
        }
        assert.equal(JSON.parse(args).numbers.length, 60);
        assert.ok(longest < 6_000, `silent for ${longest} ms`);
    });

    it('continues a text, with echo and log-probabilities', async () => {
        const ask = more => openai.completions.create({model: 'scripted', prompt: 'count', ...more});
        const plain = await ask({max_tokens: 100});
        assert.match(plain.id, /^cmpl-/);
        assert.equal(plain.object, 'text_completion');
        assert.equal(plain.choices[0].text, 'one two three four five six seven');
        assert.equal(plain.choices[0].finish_reason, 'stop');
        assert.equal(plain.choices[0].logprobs, null);
        const scored = (await ask({max_tokens: 100, echo: true, logprobs: 1})).choices[0];
        assert.equal(scored.text, 'countone two three four five six seven');
        const {tokens, token_logprobs, top_logprobs, text_offset} = scored.logprobs;
        assert.equal(tokens.join(''), scored.text);
        assert.equal(token_logprobs[0], null);
        assert.ok(token_logprobs.slice(1).every(p => p === 0));
        assert.equal(top_logprobs.length, tokens.length);
        tokens.forEach((token, i) => assert.equal(scored.text.substr(text_offset[i], token.length), token));
        const chunks = await collect(await ask({max_tokens: 100, stream: true, stream_options: {include_usage: true}}));
        assert.equal(chunks.map(c => c.choices[0]?.text ?? '').join(''), plain.choices[0].text);
        assert.deepEqual(chunks.at(-1).usage.total_tokens, plain.usage.total_tokens);
    });

    it('continues several texts', async () => {
        const answer = await openai.completions.create({model: 'scripted', prompt: ['count', 'hello', 'x'], max_tokens: 100});
        assert.deepEqual(answer.choices.map(c => c.index), [0, 1, 2]);
        assert.deepEqual(answer.choices.map(c => c.text),
                         ['one two three four five six seven', 'Hello there, friend.', 'I have no rule for that.']);
    });

    it('lists and describes models', async () => {
        const models = await collect(openai.models.list());
        assert.deepEqual(models.map(m => m.id), ['scripted']);
        const model = await openai.models.retrieve('scripted');
        assert.equal(model.object, 'model');
        assert.equal(model.context_length, 20000);
        assert.ok(Number.isInteger(model.created));
        await assert.rejects(openai.models.retrieve('nope'), e => e instanceof OpenAI.NotFoundError && e.code === 'model_not_found');
    });
});

describe('chat completions with keys and a full queue', {timeout: 60_000}, () => {
    it('wants a key', async () => {
        const server = await startServer({scripted: script, args: ['--api-key', 'secret']});
        const ask = apiKey => client(server, {apiKey}).chat.completions.create({model: 'x', messages: user('hello')});
        await assert.rejects(ask('wrong'), e => e instanceof OpenAI.AuthenticationError && e.status === 401 && e.type === 'authentication_error');
        assert.equal((await ask('secret')).choices[0].message.content, 'Hello there, friend.');
        await server.stop();
    });

    it('refuses with RateLimitError when the queue is full; the library comes back after Retry-After', async () => {
        const server = await startServer({scripted: script, args: ['--queue', '1']});
        const ask = (content, signal, options) =>
            client(server, options).chat.completions.create({model: 'x', messages: user(content)}, {signal});
        await whileBusy(server, ask, async free => {
            let refused;
            await assert.rejects(ask('hello'), e => { refused = e; return e instanceof OpenAI.RateLimitError; });
            assert.equal(refused.code, 'queue_full');
            const wait = Number(refused.headers.get('retry-after'));
            assert.ok(wait >= 1 && wait <= 60);
            const begin = Date.now();
            const retried = ask('hello', undefined, {maxRetries: 5});
            setTimeout(free, 200);
            assert.equal((await retried).choices[0].message.content, 'Hello there, friend.');
            assert.ok(Date.now() - begin >= 1_000 * wait - 50, 'came back too soon');
        });
        await server.stop();
    });
});

describe('chat completions of the nano model', {timeout: 180_000}, () => {
    let server, openai;
    before(async () => {
        server = await startServer();
        openai = client(server);
    });
    after(() => server.stop());
    const create = (content, more = {}) => openai.chat.completions.create({
        model: 'nano', messages: user(content), temperature: 0, max_completion_tokens: 24, ...more});

    it('answers, the same each time, whole or streamed', async () => {
        const first = await create('Hello', {reasoning_effort: 'none'});
        const {message, finish_reason} = first.choices[0];
        assert.ok(['stop', 'length'].includes(finish_reason));
        assert.ok(first.usage.completion_tokens >= 1 && first.usage.completion_tokens <= 24);
        const again = await create('Hello', {reasoning_effort: 'none'});
        assert.deepEqual(again.choices, first.choices);
        assert.ok(again.usage.prompt_tokens_details.cached_tokens > 0);
        assert.ok(again.usage.prompt_tokens_details.cached_tokens <= again.usage.prompt_tokens);
        const chunks = await collect(await create('Hello', {reasoning_effort: 'none', stream: true, stream_options: {include_usage: true}}));
        assert.equal(chunks.map(c => c.choices[0]?.delta.content ?? '').join(''), message.content);
        assert.equal(chunks.at(-1).usage.completion_tokens, first.usage.completion_tokens);
        assert.equal(chunks.at(-2).choices[0].finish_reason, finish_reason);
    });

    it('reasons, and counts that', async () => {
        const answer = await create('Hello');
        const {message} = answer.choices[0];
        const streamed = await collect(await create('Hello', {stream: true}));
        assert.equal(streamed.map(c => c.choices[0].delta.reasoning_content ?? '').join(''), message.reasoning_content ?? '');
        assert.ok(answer.usage.completion_tokens_details.reasoning_tokens > 0);
        noDsml(message.content);
    });

    it('gives log-probabilities', async () => {
        const {logprobs, message} = (await create('Hello', {logprobs: true, top_logprobs: 3, reasoning_effort: 'none'})).choices[0];
        assert.equal(logprobs.content.map(t => t.token).join('').trim(), message.content.trim());
        for (const token of logprobs.content) {
            assert.equal(token.top_logprobs.length, 3);
            assert.ok(token.logprob <= 0 && token.logprob === token.top_logprobs[0].logprob);
        }
    });

    it('makes the call that it has to', async () => {
        for (const tool_choice of ['required', {type: 'function', function: {name: 'get_weather'}}]) {
            const {message} = (await create('Weather?', {tools: [weather], tool_choice, max_completion_tokens: 48, reasoning_effort: 'none'})).choices[0];
            noDsml(message.content);
            assert.ok(message.tool_calls.length >= 1);
            if (typeof tool_choice !== 'string') assert.equal(message.tool_calls[0].function.name, 'get_weather');
            for (const call of message.tool_calls) JSON.parse(call.function.arguments);
        }
    });

    it('gives different choices from one seed, and again the same', async () => {
        const sample = () => create('Hello', {n: 2, temperature: 2, seed: 7, reasoning_effort: 'none'});
        const texts = answer => answer.choices.map(c => c.message.content);
        const [a, b] = [texts(await sample()), texts(await sample())];
        assert.deepEqual(a, b);
        assert.notEqual(a[0], a[1]);
    });

    it('scores a text', async () => {
        const {choices: [choice], usage} = await openai.completions.create({
            model: 'nano', prompt: 'The whale swims.', max_tokens: 0, echo: true, logprobs: 1});
        assert.equal(choice.text, 'The whale swims.');
        assert.equal(choice.logprobs.tokens.join(''), choice.text);
        assert.equal(choice.logprobs.token_logprobs.length, choice.logprobs.tokens.length);
        assert.ok(choice.logprobs.token_logprobs.slice(1).every(p => p <= 0));
        assert.equal(usage.completion_tokens, 0);
    });

    it('stops working when the client goes', async () => {
        const stream = await create('Tell me a long story', {stream: true, max_completion_tokens: 20_000, ignore_eos: true});
        for await (const chunk of stream) if (chunk.choices[0].delta.reasoning_content || chunk.choices[0].delta.content) break;
        await idle(server);
    });
});
