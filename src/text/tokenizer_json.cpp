// Hugging Face's tokenizer.json, as far as DeepSeek's tokenizers use it:
//
//   { "normalizer": null or empty,
//     "pre_tokenizer": { "type": "Sequence", "pretokenizers": [ {"type": "Split", "pattern": {"Regex": ...}},
//     ... ] }, "added_tokens": [ {"id": 0, "content": "<｜begin▁of▁sentence｜>", "special": true, ...}, ...
//     ], "model": { "type": "BPE", "vocab": {"Ġthe": 270, ...}, "merges": ["Ġ t", ...] or [["Ġ", "t"], ...] }
//     }
//
// Added tokens are special tokens here, be they flagged "special" or not (`<｜User｜>` is not): control or
// user-defined.

#include <algorithm>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "text/tokenizer.h"
#include "text/tokenizer_json.h"

namespace cachalot {
namespace {

using nlohmann::json;

constexpr std::size_t kMaxJsonBytes = std::size_t{64} << 20;
constexpr int kMaxJsonDepth = 16;
constexpr const char* kBos = "<｜begin▁of▁sentence｜>";
constexpr const char* kEos = "<｜end▁of▁sentence｜>";

json parse(const std::string& text, const std::string& source) {
    if (text.size() > kMaxJsonBytes)
        fail("{}: {} bytes are too many for a tokenizer.json", source, text.size());
    const auto check_depth = [&](int depth, json::parse_event_t, json&) {
        if (depth > kMaxJsonDepth) fail("{}: nested more than {} deep", source, kMaxJsonDepth);
        return true;
    };
    try {
        return json::parse(text, check_depth);
    } catch (const json::exception& e) {
        fail("{}: {}", source, e.what());
    }
}

// Files differ in whether they escape line ends and quotes inside a pattern.
std::string canonical(const std::string& pattern) {
    std::string out;
    for (std::size_t i = 0; i < pattern.size(); ++i) {
        if (pattern[i] == '\\' && i + 1 < pattern.size()) {
            if (pattern[i + 1] != '"') out += pattern[i];
            out += pattern[++i];
        } else if (pattern[i] == '\r') {
            out += "\\r";
        } else if (pattern[i] == '\n') {
            out += "\\n";
        } else {
            out += pattern[i];
        }
    }
    return out;
}

class Reader {
  public:
    Reader(const json& file, const std::string& source) : file_(file), source_(source) {}

    TokenizerData read() {
        if (!file_.is_object()) fail("{}: not a JSON object", source_);
        const json& model = object(file_, "model");
        check_supported(model);
        read_tokens(object(model, "vocab"));
        read_merges(array(model, "merges"));
        data_.bos = special(kBos);
        data_.eos = special(kEos);
        return std::move(data_);
    }

  private:
    const json& member(const json& parent, const char* name) {
        const auto found = parent.find(name);
        if (found == parent.end()) fail("{}: \"{}\" is missing", source_, name);
        return *found;
    }
    const json& object(const json& parent, const char* name) {
        const json& value = member(parent, name);
        if (!value.is_object()) fail("{}: \"{}\" is not an object", source_, name);
        return value;
    }
    const json& array(const json& parent, const char* name) {
        const json& value = member(parent, name);
        if (!value.is_array()) fail("{}: \"{}\" is not an array", source_, name);
        return value;
    }
    // Whether a setting is absent or has a value that turns it off.
    static bool off(const json& parent, const char* name) {
        const auto found = parent.find(name);
        if (found == parent.end()) return true;
        if (found->is_string()) return found->get_ref<const std::string&>().empty();
        return found->is_null() || *found == false || *found == 0;
    }

    void check_supported(const json& model) {
        if (model.value("type", json()) != "BPE") fail("{}: the model's \"type\" is not \"BPE\"", source_);
        for (const char* setting :
             {"dropout", "continuing_subword_prefix", "end_of_word_suffix", "ignore_merges"})
            if (!off(model, setting)) fail("{}: the model's \"{}\" is not supported", source_, setting);

        if (!off(file_, "normalizer")) {
            const json steps = object(file_, "normalizer").value("normalizers", json());
            if (!steps.is_array() || !steps.empty()) fail("{}: \"normalizer\" is not supported", source_);
        }
        std::vector<std::string> patterns;
        const json& pre_tokenizer = object(file_, "pre_tokenizer");
        for (const json& step : array(pre_tokenizer, "pretokenizers")) {
            if (!step.is_object()) fail("{}: a step of \"pre_tokenizer\" is not an object", source_);
            const json type = step.value("type", json());
            if (type == "ByteLevel" && off(step, "add_prefix_space") &&
                step.value("use_regex", json()) == false)
                continue;
            const json pattern = type == "Split" ? object(step, "pattern").value("Regex", json()) : json();
            if (!pattern.is_string() || step.value("behavior", json()) != "Isolated" || !off(step, "invert"))
                fail("{}: a step of \"pre_tokenizer\" is not supported", source_);
            patterns.push_back(canonical(pattern.get<std::string>()));
        }
        if (!std::equal(patterns.begin(), patterns.end(), kTokenizerJsonPatterns.begin(),
                        kTokenizerJsonPatterns.end()))
            fail("{}: \"pre_tokenizer\" does not split text as DeepSeek's tokenizers do", source_);
    }

    void read_tokens(const json& vocab) {
        const json none = json::array();
        const json& added = file_.contains("added_tokens") ? array(file_, "added_tokens") : none;
        // Ids are dense, so there are as many as there are distinct tokens.
        std::size_t count = vocab.size();
        for (const json& token : added) {
            if (!token.is_object() || !member(token, "content").is_string())
                fail("{}: an element of \"added_tokens\" is not a token", source_);
            if (!vocab.contains(token["content"].get_ref<const std::string&>())) ++count;
        }
        data_.tokens.resize(count);
        data_.types.assign(count, 0);
        for (const auto& [text, id] : vocab.items()) place(text, id, TokenType::normal);
        for (const json& token : added) {
            const auto& text = token["content"].get_ref<const std::string&>();
            for (const char* setting : {"lstrip", "rstrip", "single_word"})
                if (!off(token, setting))
                    fail("{}: \"{}\" of an added token is not supported", source_, setting);
            place(text, member(token, "id"),
                  off(token, "special") ? TokenType::user_defined : TokenType::control);
        }
        const auto hole = std::find(data_.types.begin(), data_.types.end(), 0);
        if (hole != data_.types.end())
            fail("{}: no token has the id {}", source_, hole - data_.types.begin());
    }

    // An added token may be in the vocabulary, too, under the same id.
    void place(const std::string& text, const json& id, TokenType type) {
        const std::size_t count = data_.tokens.size();
        if (!id.is_number_unsigned() || id.get<std::uint64_t>() >= count)
            fail("{}: the id of a token is not one of 0 to {}", source_, count - 1);
        const auto i = id.get<std::size_t>();
        if (data_.types[i] != 0 && (type == TokenType::normal || data_.tokens[i] != text))
            fail("{}: two tokens have the id {}", source_, i);
        data_.tokens[i] = text;
        data_.types[i] = static_cast<int>(type);
    }

    void read_merges(const json& merges) {
        data_.merges.reserve(merges.size());
        for (const json& merge : merges) {
            if (merge.is_string()) {
                data_.merges.push_back(merge.get<std::string>());
            } else if (merge.is_array() && merge.size() == 2 && merge[0].is_string() &&
                       merge[1].is_string()) {
                data_.merges.push_back(merge[0].get<std::string>() + ' ' + merge[1].get<std::string>());
            } else {
                fail("{}: merge {} is neither a string nor a pair of strings", source_, data_.merges.size());
            }
        }
    }

    int special(const char* text) {
        const auto found = std::find(data_.tokens.begin(), data_.tokens.end(), text);
        if (found == data_.tokens.end()) fail("{}: there is no token {}", source_, text);
        return static_cast<int>(found - data_.tokens.begin());
    }

    const json& file_;
    const std::string& source_;
    TokenizerData data_;
};

}  // namespace

Tokenizer Tokenizer::from_json(const std::string& text, const std::string& source) {
    const json file = parse(text, source);
    return Tokenizer(Reader(file, source).read(), source);
}

}  // namespace cachalot
