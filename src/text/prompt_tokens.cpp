#include "text/prompt_tokens.h"

#include <algorithm>

namespace cachalot {

namespace {

// Parts are encoded in pieces, whose borders are the marks of the prompt. Each mark is next to a special
// token, so that no token could go across it, and the pieces give what the whole would.
class Pieces {
  public:
    Pieces(const Prompt& prompt, const Tokenizer& tokenizer, std::size_t most)
        : parts_(prompt.parts), tokenizer_(tokenizer), most_(most) {}

    // The parts up to `end` that are not encoded yet. False: too many.
    bool encode_to(std::size_t end) {
        if (end <= done_) return true;
        const auto more =
            tokenizer_.encode_at_most(most_ - tokens_.size(), parts_.subspan(done_, end - done_));
        done_ = end;
        return more && append(*more);
    }

    // In the place of the parts up to `end`.
    bool put(std::span<const std::int32_t> tokens, std::size_t end) {
        done_ = end;
        return tokens.size() <= most_ - tokens_.size() && append(tokens);
    }

    std::size_t size() const { return tokens_.size(); }
    std::vector<std::int32_t> take() { return std::move(tokens_); }

  private:
    bool append(std::span<const std::int32_t> more) {
        tokens_.insert(tokens_.end(), more.begin(), more.end());
        return true;
    }

    const std::span<const TextPart> parts_;
    const Tokenizer& tokenizer_;
    const std::size_t most_;
    std::size_t done_ = 0;
    std::vector<std::int32_t> tokens_;
};

}  // namespace

std::optional<PromptTokens> tokenize_prompt(const Prompt& prompt, const Tokenizer& tokenizer,
                                            std::span<const std::span<const std::int32_t>> verbatim,
                                            std::size_t most) {
    PromptTokens result;
    Pieces pieces(prompt, tokenizer, most);
    const auto pass_header = [&](std::size_t next) {
        const auto header = prompt.last_answer_header;
        if (result.header > 0 || header > next || header == prompt.parts.size()) return true;
        const bool fits = pieces.encode_to(header);
        result.header = pieces.size();
        return fits;
    };
    for (std::size_t i = 0; i < std::min(verbatim.size(), prompt.answers.size()); ++i) {
        const auto& answer = prompt.answers[i];
        if (verbatim[i].empty()) continue;
        if (!pass_header(answer.begin) || !pieces.encode_to(answer.begin) ||
            !pieces.put(verbatim[i], answer.end))
            return std::nullopt;
    }
    if (!pass_header(prompt.parts.size()) || !pieces.encode_to(prompt.parts.size())) return std::nullopt;
    result.tokens = pieces.take();
    return result;
}

}  // namespace cachalot
