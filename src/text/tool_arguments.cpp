// Reads the arguments of a call as a tree of texts, then writes what lies in each argument anew. So nothing
// depends on the depth of the nesting, no key is searched for, and numbers keep the digits that a double
// would lose.
#include <nlohmann/json.hpp>
#include <utility>

#include "text/chat_json.h"
#include "text/json_limits.h"

namespace cachalot {

using nlohmann::ordered_json;

namespace {

struct Node {
    enum class Kind { text, string, object, array };
    std::string name;  // of an object's member
    Kind kind;
    std::string text;  // of a `string` itself, else JSON
    std::vector<Node> items = {};
};

void append_node(std::string& out, const Node& node) {
    if (node.kind == Node::Kind::text) {
        out += node.text;
    } else if (node.kind == Node::Kind::string) {
        out += '"';
        append_json_escaped(out, node.text);
        out += '"';
    } else {
        const bool object = node.kind == Node::Kind::object;
        out += object ? '{' : '[';
        const char* separator = "";
        for (const Node& item : node.items) {
            out += std::exchange(separator, ", ");
            if (object) out += json_string(item.name) + ": ";
            append_node(out, item);
        }
        out += object ? '}' : ']';
    }
}

class ArgumentReader : public nlohmann::json_sax<ordered_json> {
  public:
    std::vector<Node> take() { return std::move(root_.items); }

    bool null() override { return add("null"); }
    bool boolean(bool value) override { return add(value ? "true" : "false"); }
    bool number_integer(number_integer_t value) override { return add(std::to_string(value)); }
    bool number_unsigned(number_unsigned_t value) override { return add(std::to_string(value)); }
    bool number_float(number_float_t value, const string_t& digits) override {
        const bool integer = digits.find_first_of(".eE") == std::string::npos;
        return add(integer ? digits : python_float(value));
    }
    bool string(string_t& value) override { return add(std::move(value), Node::Kind::string); }
    bool binary(binary_t& /*value*/) override { return false; }
    bool start_object(std::size_t /*size*/) override { return open(Node::Kind::object); }
    bool start_array(std::size_t /*size*/) override { return open(Node::Kind::array); }
    bool key(string_t& name) override {
        key_ = std::move(name);
        return true;
    }
    // The last of several equal keys wins, at the place of the first.
    bool end_object() override {
        std::vector<Node>& items = open_.back()->items;
        open_.pop_back();
        std::vector<const std::string*> keys;
        for (const Node& item : items) keys.push_back(&item.name);
        const std::vector<std::size_t> last = last_of_equal(keys);
        if (last.empty()) return true;
        std::vector<Node> kept;
        for (const std::size_t i : last)
            if (i != kRepeated) kept.push_back(std::move(items[i]));
        items = std::move(kept);
        return true;
    }
    bool end_array() override {
        open_.pop_back();
        return true;
    }
    bool parse_error(std::size_t /*position*/, const std::string& /*token*/,
                     const nlohmann::detail::exception& /*error*/) override {
        return false;
    }

  private:
    bool open(Node::Kind kind) {
        if (open_.empty()) {
            open_.push_back(&root_);
            return kind == Node::Kind::object;
        }
        if (open_.size() >= kMaxJsonDepth || !add({}, kind)) return false;
        open_.push_back(&open_.back()->items.back());  // stays there until it is closed
        return true;
    }

    bool add(std::string text, Node::Kind kind = Node::Kind::text) {
        if (open_.empty() || ++values_ > kMaxJsonValues) return false;  // the arguments are not an object
        open_.back()->items.push_back({std::move(key_), kind, std::move(text)});
        key_.clear();
        return true;
    }

    Node root_{{}, Node::Kind::object, {}};
    std::vector<Node*> open_;
    std::string key_;  // of the next value
    std::size_t values_ = 0;
};

}  // namespace

std::optional<std::vector<ToolArgument>> parse_tool_arguments(std::string_view json) {
    std::string storage;
    ArgumentReader reader;
    if (!ordered_json::sax_parse(without_lone_surrogates(json, storage), &reader)) return std::nullopt;
    std::vector<ToolArgument> arguments;
    for (Node& node : reader.take()) {
        const bool is_string = node.kind == Node::Kind::string;
        std::string value;
        if (is_string)
            value = std::move(node.text);
        else
            append_node(value, node);
        arguments.push_back({std::move(node.name), is_string, std::move(value)});
    }
    return arguments;
}

}  // namespace cachalot
