#include "text/call_reader.h"

#include <utility>

#include "text/call_arguments.h"
#include "text/chat_json.h"

namespace cachalot {

namespace {

constexpr std::string_view kSpaces = " \t\r\n";

std::string_view trim(std::string_view text) {
    const std::size_t start = text.find_first_not_of(kSpaces);
    if (start == std::string_view::npos) return {};
    return text.substr(start, text.find_last_not_of(kSpaces) - start + 1);
}

}  // namespace

bool CallReader::offered(std::string_view name) const {
    return !tools_ || (tools_->callable() && tools_->find(name));
}

void CallReader::open(const DsmlTag& invoke) {
    tool_ = tools_ ? tools_->find(invoke.name) : nullptr;
    rejected_ = !offered(invoke.name);
    name_ = tool_ ? tool_->name() : invoke.name;
    if (name_ != invoke.name) repairs_.insert(Repair::name_misspelt);
    announced_ = broken_tag_ = false;
    arguments_.clear();
    body_.clear();
    names_.clear();
    for (const auto& [name, value] : invoke.attributes) {
        if (!has_parameter(name)) continue;
        open_parameter(name, std::nullopt);
        this->value(value);
        close_parameter();
    }
}

// ---- Parameters

void CallReader::open_parameter(std::string_view name, std::optional<bool> is_string,
                                std::string_view attribute) {
    add_body(true);
    const ToolSchema::Parameter* parameter = tool_ ? tool_->parameter(name) : nullptr;
    parameter_ = parameter ? parameter->name : std::string(name);
    if (parameter_ != name) repairs_.insert(Repair::name_misspelt);
    is_string_ = is_string;
    attribute_ = attribute;
    held_.clear();
    const bool plain = parameter ? tool_->takes_string(*parameter) : !tool_ || !tool_->lists_parameters();
    mode_ = names_.contains(parameter_)          ? Value::dropped
            : is_string.value_or(false) && plain ? Value::streamed
                                                 : Value::held;
    if (mode_ == Value::dropped) repairs_.insert(Repair::duplicate_parameter);
    if (mode_ != Value::streamed) return;
    if (!attribute_.empty()) {
        mode_ = Value::held;
    } else if (parameter && names_.empty()) {
        mode_ = Value::watched;
    } else {
        begin_string();
    }
}

void CallReader::begin_string() {
    mode_ = Value::streamed;
    begin_argument(parameter_);
    send(CompletionEvent::Kind::call_arguments, "\"");
}

void CallReader::value(std::string_view text) {
    if (mode_ == Value::held || mode_ == Value::watched) held_ += text;
    const bool begins = mode_ == Value::watched && !may_wrap_own(held_, *tool_);
    if (begins) begin_string();
    if (mode_ != Value::streamed) return;
    std::string escaped;
    append_json_escaped(escaped, begins ? std::string_view(held_) : text);
    send(CompletionEvent::Kind::call_arguments, escaped);
}

void CallReader::close_parameter() {
    const Value mode = std::exchange(mode_, Value::dropped);
    if (mode == Value::streamed) send(CompletionEvent::Kind::call_arguments, "\"");
    if (mode != Value::held && mode != Value::watched) return;
    if (!attribute_.empty() && trim(held_).empty()) held_ = attribute_;
    if (!is_string_) repairs_.insert(Repair::string_attribute_missing);
    if (unwrap_value()) return;
    const std::string_view text = trim(held_);
    if (is_string_.value_or(false)) return add({parameter_, true, held_});
    if (is_json(text)) return add({parameter_, false, std::string(text)});
    if (is_string_) repairs_.insert(Repair::invalid_json_value);
    if (text == "True") return add({parameter_, false, "true"});
    if (text == "False") return add({parameter_, false, "false"});
    if (text == "None") return add({parameter_, false, "null"});
    add({parameter_, true, held_});
}

// Whether the value was more than one: it held the arguments, or what was to be those.
bool CallReader::unwrap_value() {
    if (!tool_ || !tool_->lists_parameters()) return false;
    const bool own = tool_->parameter(parameter_) != nullptr;
    if (own && !names_.empty()) return false;
    const auto inner =
        own ? unwrap_own(parameter_, held_, *tool_) : unwrap_parameter(parameter_, held_, *tool_);
    if (inner) {
        repairs_.insert(Repair::arguments_wrapped);
        for (const ToolArgument& argument : *inner) add(argument);
    } else if (!own && is_wrapper_name(parameter_)) {
        body(held_);
    } else {
        return false;
    }
    return true;
}

// ---- Arguments

void CallReader::begin_argument(const std::string& name) {
    if (!announced_) send(CompletionEvent::Kind::call_start, name_);
    announced_ = true;
    send(CompletionEvent::Kind::call_arguments, (names_.empty() ? "{" : ", ") + json_string(name) + ": ");
    names_.insert(name);
}

void CallReader::add(const ToolArgument& argument) {
    const ToolSchema::Parameter* parameter = tool_ ? tool_->parameter(argument.name) : nullptr;
    const std::string& name = parameter ? parameter->name : argument.name;
    if (names_.contains(name)) {
        repairs_.insert(Repair::duplicate_parameter);
        return;
    }
    bool changed = false;
    std::string json = argument.is_string ? json_string(argument.value) : argument.value;
    if (parameter) json = tool_->fitted(*parameter, argument, &changed);
    if (changed) repairs_.insert(Repair::value_of_other_type);
    begin_argument(name);
    send(CompletionEvent::Kind::call_arguments, json);
}

// The text between the tags so far, if it is arguments. False: it is something else.
bool CallReader::add_body(bool beside_parameters) {
    const std::string_view text = trim(body_);
    if (text.empty()) return true;
    if ((beside_parameters || broken_tag_) && !is_object_text(text)) return false;
    const auto arguments = read_arguments(text, tool_);
    if (!arguments) return false;
    repairs_.insert(Repair::arguments_in_body);
    body_.clear();
    for (const ToolArgument& argument : *arguments) add(argument);
    return true;
}

bool CallReader::may_be_empty() const {
    if (tool_ && tool_->takes_nothing()) return true;
    return trim(body_).empty() && !(tool_ && tool_->requires_something());
}

std::optional<std::string> CallReader::close(bool cut) {
    const bool used = add_body(!names_.empty());
    if (rejected_ || (names_.empty() && (cut || !may_be_empty()))) {
        repairs_.insert(Repair::call_as_text);
        const bool nothing = cut && names_.empty() && trim(body_).empty();
        return nothing ? std::string() : as_text();
    }
    if (!used) repairs_.insert(Repair::text_in_block);
    if (!announced_) send(CompletionEvent::Kind::call_start, name_);
    announced_ = true;
    send(CompletionEvent::Kind::call_arguments, names_.empty() ? "{}" : "}");
    send(CompletionEvent::Kind::call_end, {});
    return std::nullopt;
}

std::string CallReader::as_text() const {
    std::string text = name_;
    if (!arguments_.empty()) text.append(" ").append(arguments_).append("}");
    if (const std::string_view rest = trim(body_); !rest.empty()) text.append(" ").append(rest);
    return text;
}

void CallReader::send(CompletionEvent::Kind kind, std::string_view text) {
    if (rejected_) {
        if (kind == CompletionEvent::Kind::call_arguments) arguments_ += text;
        return;
    }
    events_.push_back({kind, std::string(text), 0});
}

}  // namespace cachalot
