// What tests of the scheduler share.
#pragma once

#include <gtest/gtest.h>

#include <memory>
#include <vector>

#include "engine/scheduler.h"
#include "support/nano.h"

namespace cachalot::test {

using Tokens = std::vector<std::int32_t>;
using Kind = SequenceEvent::Kind;

inline EngineOptions exact(std::int64_t context = 0, int chunk = 512) {
    return {2, Precision::exact, KvPrecision::reference, chunk, context};
}

inline GenerationOptions greedy(std::int64_t tokens) {
    GenerationOptions o;
    o.sampling.temperature = 0;
    o.max_tokens = tokens;
    o.ignore_eos = true;
    o.top_logprobs = 0;
    return o;
}

inline std::shared_ptr<Sequence> sequence(const Engine& engine, const Tokens& prompt, std::int64_t tokens,
                                          SequenceOptions options = {}) {
    return std::make_shared<Sequence>(Generation(engine, prompt, greedy(tokens)), std::move(options));
}

inline Tokens tokens_of(const Sequence& s) { return s.generation().tokens(); }

// The tokens of the prompt and the answer if nothing else is done.
inline Tokens alone(Engine& engine, const Tokens& prompt, std::int64_t tokens) {
    Generation generation(engine, prompt, greedy(tokens));
    auto state = engine.new_state();
    run(engine, state, generation);
    return generation.tokens();
}

// How probable the last token was. It depends on every token before, where the most probable one may not.
inline double last_logprob(const Generation& generation) { return generation.logprobs()->chosen.logprob; }

inline Tokens part(const Tokens& all, std::size_t begin, std::size_t count) {
    auto from = all.begin() + static_cast<std::ptrdiff_t>(begin);
    return {from, from + static_cast<std::ptrdiff_t>(count)};
}

inline Tokens joined(Tokens first, const Tokens& second) {
    first.insert(first.end(), second.begin(), second.end());
    return first;
}

class SchedulerTest : public testing::Test {
  protected:
    // A text of so many tokens.
    Tokens lengthy(std::size_t n) const {
        Tokens tokens;
        while (tokens.size() < n) tokens = joined(std::move(tokens), text);
        tokens.resize(n);
        return tokens;
    }

    const Tokens text = Golden::ids("prefix.ids");
    const Tokens prose = Golden::ids("prose.ids");
};

}  // namespace cachalot::test
