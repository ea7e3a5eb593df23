#include "engine/answer_form.h"

#include <fmt/format.h>

#include "base/error.h"
#include "grammar/choice.h"
#include "grammar/ebnf.h"
#include "grammar/json_schema.h"
#include "grammar/regex.h"

namespace cachalot {
namespace {

grammar::GrammarPtr compile(const AnswerForm& form) {
    switch (form.kind) {
        case AnswerForm::Kind::free: return nullptr;
        case AnswerForm::Kind::json_object: return grammar::compile_json_object();
        case AnswerForm::Kind::json_schema: return grammar::compile_json_schema(form.schema);
        case AnswerForm::Kind::regex: return grammar::compile_regex(form.text);
        case AnswerForm::Kind::choice: return grammar::compile_choice(form.choices);
        case AnswerForm::Kind::gbnf: return grammar::compile_gbnf(form.text);
        case AnswerForm::Kind::lark: return grammar::compile_lark(form.text);
        case AnswerForm::Kind::ebnf: return grammar::compile_ebnf(form.text);
    }
    CACHALOT_CHECK(!"a kind of form");
}

// Equal for forms that say the same, and for no others.
std::string key_of(const AnswerForm& form) {
    std::string key = fmt::format("{} ", static_cast<int>(form.kind));
    if (form.kind == AnswerForm::Kind::json_schema)
        key += form.schema.dump(-1, ' ', false, nlohmann::ordered_json::error_handler_t::replace);
    for (const std::string& choice : form.choices) key += fmt::format("{} {}", choice.size(), choice);
    return key + form.text;
}

}  // namespace

nlohmann::ordered_json told_form(const AnswerForm& form, ChatFormat format) {
    if (form.kind == AnswerForm::Kind::json_schema) return form.schema;
    if (form.kind != AnswerForm::Kind::json_object) return nullptr;
    // As the models were trained to be told that any object will do.
    return {{"type", format == ChatFormat::v41 ? "json_object" : "object"}};
}

grammar::GrammarPtr compile_form(const AnswerForm& form) {
    try {
        return compile(form);
    } catch (const grammar::GrammarError& e) {
        fail("{}: {}", form.source, e.what());
    }
}

FormPtr AnswerForms::compiled(const AnswerForm& form) {
    if (!form) return nullptr;
    std::string key = key_of(form);
    if (auto known = find(key)) return known;
    auto made = std::make_shared<const CompiledForm>(CompiledForm{compile_form(form), vocabulary()});
    const std::lock_guard lock(mutex_);
    if (by_key_.contains(key)) return made;  // somebody else was faster
    entries_.push_front({std::move(key), made});
    by_key_.emplace(entries_.front().key, entries_.begin());
    if (entries_.size() > kKept) {
        by_key_.erase(entries_.back().key);
        entries_.pop_back();
    }
    return made;
}

FormPtr AnswerForms::find(const std::string& key) {
    const std::lock_guard lock(mutex_);
    const auto found = by_key_.find(key);
    if (found == by_key_.end()) return nullptr;
    entries_.splice(entries_.begin(), entries_, found->second);
    return found->second->form;
}

const std::shared_ptr<const grammar::TokenTrie>& AnswerForms::vocabulary() {
    std::call_once(sorted_, [this] { vocabulary_ = grammar::make_token_trie(tokenizer_); });
    return vocabulary_;
}

std::size_t AnswerForms::kept() const {
    const std::lock_guard lock(mutex_);
    return entries_.size();
}

}  // namespace cachalot
