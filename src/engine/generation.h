// One answer being written: from the logits of the last position to text, token by token.
//
// A Generation does not run the model. It says which tokens have to be evaluated next, takes their logits,
// and returns the text that may be shown; so the same object serves a loop of one and a scheduler of many.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "engine/engine.h"
#include "sampling/logprobs.h"
#include "sampling/sampler.h"
#include "sampling/stop.h"
#include "sampling/token_constraint.h"
#include "sampling/token_filter.h"
#include "text/stream_decoder.h"

namespace cachalot {

struct GenerationOptions {
    SamplingOptions sampling;
    std::int64_t max_tokens = -1;    // -1: until the context is full
    std::vector<std::string> stops;  // the text ends before the first of them
    bool ignore_eos = false;
    // Which special tokens appear in the text: `structure` are the tokens of an answer's parts (<think>,
    // </think>, ｜DSML｜), which a CompletionParser reads.
    enum class Special { none, structure, all } special = Special::none;
    int top_logprobs = -1;  // -1: no log-probabilities
    // What ends the reasoning that the answer begins with; none if it begins with content. A turn does not
    // end inside its reasoning: in the place of EOS comes this token, unless the reasoning has turned into
    // calls.
    std::optional<std::int32_t> reasoning_end;
    // Tokens that are not chosen but given: after the reasoning, or at once if there is none.
    std::vector<std::int32_t> forced;
    // After so many tokens of reasoning `reasoning_end` is given, if it has not come. -1: no limit.
    std::int64_t max_reasoning = -1;
    TokenRules rules;
    ConstraintMaker constraint;  // a further constraint; may be empty
};

enum class FinishReason { none, eos, stop, length, cancelled };
const char* name(FinishReason reason);  // "stop" for eos and stop, as the APIs have it

class Generation {
  public:
    // `prompt` must not be empty. Throws Error for options out of range.
    Generation(const Engine& engine, std::vector<std::int32_t> prompt, GenerationOptions options);

    // Tokens to evaluate before the next accept(): the whole prompt at first, then the newest token.
    std::span<const std::int32_t> pending() const { return std::span(tokens_).subspan(evaluated_); }
    void mark_evaluated(std::size_t count) { evaluated_ += count; }
    std::size_t evaluated() const { return evaluated_; }
    // The first `length` of tokens() are evaluated, whatever was before.
    void continue_at(std::size_t length) { evaluated_ = length; }

    // Tokens that follow tokens(), whatever the logits of the last one are.
    std::vector<std::int32_t> forced() const { return constraints_.forced(); }
    // Guesses tokens one after the other as accept() would choose them from these logits: with the same
    // constraints, penalties and random numbers. A guess from the model's own logits is what accept() will
    // choose. While one lives the generation is left alone.
    class Guess {
      public:
        explicit Guess(Generation& generation) : g_(generation), sampler_(generation.sampler_) {}
        ~Guess() { g_.constraints_.rollback(count_); }
        Guess(const Guess&) = delete;
        Guess& operator=(const Guess&) = delete;

        // From logits [vocab], which are changed; none if the answer would end or nothing may be chosen.
        std::optional<std::int32_t> next(std::span<float> logits);

      private:
        Generation& g_;
        Sampler sampler_;
        std::size_t count_ = 0;
    };

    // How many of these tokens may follow one after the other. EOS is none of them where it ends the answer.
    std::size_t allowed(std::span<const std::int32_t> draft);

    // Chooses the next token from the logits [vocab] of the last token (which are changed), and returns the
    // text that may be shown now: often empty, never a part of a character or of a stop string.
    std::string accept(std::span<float> logits);

    // Chooses tokens from logits [1 + draft, vocab], of the last token and of those that were drafted behind
    // it: the first, and more as long as what is chosen is what was drafted. Tells the text of each; of an
    // answer that has ended already one without text. Returns how many drafted tokens were chosen.
    int verify(std::span<const std::int32_t> draft, std::span<float> logits,
               const std::function<void(std::string text)>& chosen);

    // Ends the answer from outside.
    std::string cancel();
    // The same, and what was written beyond the first `length` of tokens() does not count.
    void cut(std::size_t length);

    // Tokens that can still be written.
    std::size_t left() const { return finished() ? 0 : limit_ - tokens_.size(); }

    bool finished() const { return reason_ != FinishReason::none; }
    FinishReason reason() const { return reason_; }
    const std::vector<std::int32_t>& tokens() const { return tokens_; }  // prompt and answer
    std::size_t prompt_tokens() const { return prompt_size_; }
    std::size_t completion_tokens() const {
        return tokens_.size() - prompt_size_ + (reason_ == FinishReason::eos);
    }
    const std::optional<Logprobs>& logprobs() const { return logprobs_; }  // of the last accepted token
    // Where the last accepted token's text starts in the text of the whole answer, in bytes.
    std::size_t text_offset() const { return text_offset_; }
    const std::string& matched_stop() const { return stops_.matched(); }

  private:
    std::string finish(FinishReason reason, std::string text);
    bool shows(std::int32_t token) const;
    std::int32_t choose(std::span<float> logits);
    bool ends(std::int32_t token) const { return token == tokenizer_.eos() && !options_.ignore_eos; }

    const Tokenizer& tokenizer_;
    GenerationOptions options_;
    std::vector<std::int32_t> tokens_;
    std::size_t prompt_size_;
    std::size_t evaluated_ = 0;
    std::size_t limit_;  // of tokens_.size()
    Sampler sampler_;
    ConstraintList constraints_;
    StreamDecoder decoder_;
    StopMatcher stops_;
    FinishReason reason_ = FinishReason::none;
    std::optional<Logprobs> logprobs_;
    std::size_t text_offset_ = 0, decoded_ = 0;
};

// How long the two halves of an answer took.
struct Timings {
    double prefill_seconds = 0, decode_seconds = 0;
    std::int64_t prefill_tokens = 0, decode_tokens = 0;  // evaluated in each
};

struct GenerationCallbacks {
    // Tokens of the prompt evaluated so far; false cancels.
    std::function<bool(std::int64_t done, std::int64_t total)> on_prefill;
    // Text to show (not empty); false cancels.
    std::function<bool(const std::string& text)> on_text;
    // Asked before every token; true cancels.
    std::function<bool()> cancelled;
    // After every token, before its text.
    std::function<void()> on_token;
};

// Runs one generation to its end on a state that holds the first state.length() tokens of the prompt.
// Afterwards the state holds every token of generation.tokens() but the last, which has not been evaluated.
Timings run(Engine& engine, KvState& state, Generation& generation,
            const GenerationCallbacks& callbacks = {});

}  // namespace cachalot
