// What the tools of a conversation take, as far as reading a call has to know it.
//
// Schemas come from clients: anything may be in them. What is not understood means that anything goes.
#pragma once

#include <deque>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "text/chat.h"
#include "text/chat_json.h"
#include "text/compiled_schema.h"

namespace cachalot {

class ToolSchema {
  public:
    // `function`: {"name", "parameters", ...}
    explicit ToolSchema(const nlohmann::ordered_json& function);
    ToolSchema(const ToolSchema&) = delete;  // its nodes point into it
    ToolSchema& operator=(const ToolSchema&) = delete;

    struct Parameter {
        std::string name;
        const SchemaNode* schema;
        bool required = false;
    };

    const std::string& name() const { return name_; }

    const std::vector<Parameter>& parameters() const { return parameters_; }

    // Whether the parameters are listed, so that a name that is not among them is wrong.
    bool lists_parameters() const { return !parameters_.empty(); }
    bool takes_nothing() const { return takes_nothing_; }
    bool requires_something() const { return required_ > 0; }

    // Null if there is none. Spelt with other capitals or separators it is found, too.
    const Parameter* parameter(std::string_view name) const;

    // The one that is meant where a value has no name: the only one, or the only one that is required. May be
    // null.
    const Parameter* only() const;

    // Whether a JSON string is a value that `parameter` may have, and whether no other type is.
    bool takes_string(const Parameter& parameter) const;

    // The JSON text of a value in the type that the parameter wants, if it can be had without losing
    // anything; else as it is. `changed` is set if it was not of that type.
    std::string fitted(const Parameter& parameter, const ToolArgument& argument,
                       bool* changed = nullptr) const;

    // Whether a bare text can be a value of the parameter.
    bool fits_text(const Parameter& parameter, std::string_view text) const;

  private:
    nlohmann::ordered_json schema_;  // of all arguments
    std::optional<CompiledSchema> compiled_;
    std::string name_;
    std::vector<Parameter> parameters_;
    std::unordered_map<std::string, std::size_t> by_name_, by_letters_;
    std::size_t required_ = 0;
    bool takes_nothing_ = false;
};

// The tools that a conversation offers. Immutable.
class ToolSchemas {
  public:
    // `callable`: whether the answer may call any of them.
    explicit ToolSchemas(const Conversation& conversation, bool callable = true);

    // The tool that `name` means, exactly or spelt a little differently ("Get-Weather",
    // "functions.get_weather"); null if there is none.
    const ToolSchema* find(std::string_view name) const;
    bool callable() const { return callable_; }
    const std::deque<ToolSchema>& all() const { return tools_; }

  private:
    void add(const nlohmann::ordered_json& function);

    std::deque<ToolSchema> tools_;
    std::unordered_map<std::string, const ToolSchema*> by_name_, by_letters_;  // null: of several
    bool callable_;
};

// Letters and digits in small: what is left of a name when its spelling does not count.
std::string name_letters(std::string_view name);

}  // namespace cachalot
