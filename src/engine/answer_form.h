// The form that an answer has to have: JSON, JSON of a schema, or a text that an expression or a grammar
// describes.
//
// Whoever asks says the form as text; it is compiled once for all who ask for the same. What it means for an
// answer is said in sampling/form_constraint.h.
#pragma once

#include <cstddef>
#include <list>
#include <memory>
#include <mutex>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "grammar/grammar.h"
#include "grammar/token_trie.h"
#include "text/chat_format.h"
#include "text/tokenizer.h"

namespace cachalot {

struct AnswerForm {
    enum class Kind {
        free,
        json_object,
        json_schema,  // `schema`
        regex,        // `text` is the expression, which the whole answer matches
        choice,       // the answer is one of `choices`
        gbnf,         // `text` is a grammar as llama.cpp writes it
        lark,         // `text` is a grammar as Lark and OpenAI's custom tools write it
        ebnf,         // `text` is one of the two
    };
    Kind kind = Kind::free;
    nlohmann::ordered_json schema;
    std::string text;
    std::vector<std::string> choices;
    // Where it was said, for errors: "response_format.json_schema.schema", "--regex".
    std::string source;

    explicit operator bool() const { return kind != Kind::free; }
};

// What a model of this format is told of the form, as the response format of a conversation; null: nothing.
nlohmann::ordered_json told_form(const AnswerForm& form, ChatFormat format);

// Null for a free form. Throws Error that begins with the form's source, and names the place in a schema.
grammar::GrammarPtr compile_form(const AnswerForm& form);

// A form for the answers of one model.
struct CompiledForm {
    grammar::GrammarPtr grammar;
    std::shared_ptr<const grammar::TokenTrie> vocabulary;
};
using FormPtr = std::shared_ptr<const CompiledForm>;

// The forms that a model was asked for last. May be used by several threads at once.
class AnswerForms {
  public:
    static constexpr std::size_t kKept = 32;

    // The tokenizer must outlive the forms.
    explicit AnswerForms(const Tokenizer& tokenizer) : tokenizer_(tokenizer) {}

    // As compile_form(). The caller's thread compiles, and nobody waits for it; but the first one of all
    // sorts the vocabulary, which takes a moment.
    FormPtr compiled(const AnswerForm& form);

    std::size_t kept() const;

  private:
    struct Entry {
        std::string key;
        FormPtr form;
    };
    FormPtr find(const std::string& key);
    const std::shared_ptr<const grammar::TokenTrie>& vocabulary();

    const Tokenizer& tokenizer_;
    std::once_flag sorted_;
    std::shared_ptr<const grammar::TokenTrie> vocabulary_;
    mutable std::mutex mutex_;
    std::list<Entry> entries_;                                                 // the last used first
    std::unordered_map<std::string_view, std::list<Entry>::iterator> by_key_;  // of the entries' keys
};

}  // namespace cachalot
