#include "model/synthetic_vocabulary.h"

#include <nlohmann/json.hpp>

#include "base/error.h"
#include "text/prompt_protocol.h"
#include "text/tokenizer_alphabet.h"
#include "text/tokenizer_json.h"

namespace cachalot {
namespace {

class Builder {
  public:
    explicit Builder(int size) : size_(static_cast<std::size_t>(size)) {}

    TokenizerData build() {
        for (std::string_view text :
             {kBosText, kEosText, std::string_view("<｜▁pad▁｜>"), kUserToken, kAssistantToken, kThinkStart,
              kThinkEnd, std::string_view("｜DSML｜"), kLatestReminderToken})
            add(std::string(text), TokenType::control);
        for (int byte = 0; byte < 256; ++byte)
            add(to_byte_alphabet(std::string(1, static_cast<char>(byte))), TokenType::normal);
        if (data_.tokens.size() > size_)
            fail("a vocabulary of {} tokens is too small; bytes and special tokens alone are {}", size_,
                 data_.tokens.size());
        const std::string space = to_byte_alphabet(" ");
        std::vector<std::string> letters, pairs;
        for (char c = 'a'; c <= 'z'; ++c) letters.emplace_back(1, c);
        pairs = join(letters, letters);
        join({space}, letters);
        const auto triples = join(pairs, letters);
        join({space}, pairs);
        join({space}, triples);
        join(pairs, pairs);
        if (data_.tokens.size() < size_) fail("there are only {} made-up tokens", data_.tokens.size());
        return std::move(data_);
    }

  private:
    void add(const std::string& token, TokenType type) {
        data_.tokens.push_back(token);
        data_.types.push_back(static_cast<int>(type));
    }

    // Adds every left + right that there is still room for, and returns them.
    std::vector<std::string> join(const std::vector<std::string>& lefts,
                                  const std::vector<std::string>& rights) {
        std::vector<std::string> added;
        for (const auto& left : lefts)
            for (const auto& right : rights) {
                if (data_.tokens.size() == size_) return added;
                added.push_back(left + right);
                add(added.back(), TokenType::normal);
                data_.merges.push_back(left + " " + right);
            }
        return added;
    }

    std::size_t size_;
    TokenizerData data_;
};

}  // namespace

TokenizerData synthetic_vocabulary(int size) { return Builder(size).build(); }

std::string tokenizer_json(const TokenizerData& data) {
    nlohmann::json vocab = nlohmann::json::object(), added = nlohmann::json::array();
    for (std::size_t id = 0; id < data.tokens.size(); ++id) {
        const auto type = static_cast<TokenType>(data.types[id]);
        if (type == TokenType::normal)
            vocab[data.tokens[id]] = id;
        else
            added.push_back(
                {{"id", id}, {"content", data.tokens[id]}, {"special", type != TokenType::user_defined}});
    }
    nlohmann::json steps = nlohmann::json::array();
    for (const char* pattern : kTokenizerJsonPatterns)
        steps.push_back({{"type", "Split"}, {"pattern", {{"Regex", pattern}}}, {"behavior", "Isolated"}});
    steps.push_back({{"type", "ByteLevel"}, {"add_prefix_space", false}, {"use_regex", false}});
    return nlohmann::json{{"added_tokens", added},
                          {"pre_tokenizer", {{"type", "Sequence"}, {"pretokenizers", steps}}},
                          {"model", {{"type", "BPE"}, {"vocab", vocab}, {"merges", data.merges}}}}
        .dump();
}

}  // namespace cachalot
