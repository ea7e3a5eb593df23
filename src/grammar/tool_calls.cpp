#include "grammar/tool_calls.h"

#include <algorithm>
#include <limits>
#include <string_view>
#include <utility>

#include "base/error.h"
#include "grammar/builder.h"
#include "grammar/char_automaton.h"
#include "grammar/json_writer.h"
#include "grammar/schema_source.h"
#include "text/prompt_protocol.h"

namespace cachalot::grammar {
namespace {

constexpr std::string_view kMarkText = "｜DSML｜";
constexpr float kForbidden = -std::numeric_limits<float>::infinity();

// What the parser takes for a tag's sentinel, in whatever spelling, is not part of a value.
constexpr const char* kSentinel = "[|｜][dD][sS][mM][lL]|[dD][sS][mM][lL][|｜]";

constexpr char32_t kBar = 0xFF5C;  // the bar of `｜DSML｜`
constexpr std::uint64_t kLong = 1000;

// The names of parameters that a schema does not list.
constexpr const char* kOtherName = "[A-Za-z_][A-Za-z0-9_.-]{0,63}";

// Text of the protocol, with the mark as a symbol.
void write_fixed(Builder& builder, NodeId from, NodeId to, std::string_view text) {
    for (auto at = text.find(kMarkText); at != std::string_view::npos; at = text.find(kMarkText)) {
        const NodeId mark = builder.node(), behind = builder.node();
        builder.text(from, mark, text.substr(0, at));
        builder.range(mark, behind, kFirstMark, kFirstMark);
        from = behind;
        text.remove_prefix(at + kMarkText.size());
    }
    builder.text(from, to, text);
}

class ToolWriter {
  public:
    ToolWriter(Builder& builder, const ChatProtocol& protocol, const Limits& limits)
        : builder_(builder),
          protocol_(protocol),
          limits_(limits),
          most_(limits.products),
          no_sentinel_(CharAutomaton::of(parse_regex(kSentinel), CharAutomaton::Where::anywhere, most_)
                           .inverted(most_)),
          free_text_(builder.rule("text")),
          unbarred_(builder.rule("character")) {
        builder_.characters(builder_.begin(unbarred_), builder_.end(unbarred_), CharSet::of(kBar).inverted());
        no_sentinel_.write(builder_, builder_.begin(free_text_), builder_.end(free_text_),
                           CharAutomaton::As::utf8);
    }

    // All parameters of a call: a line for each, and an empty line if there are none.
    void write(NodeId from, NodeId to, const CallableTool& tool) {
        static const Json kNothing = {{"type", "object"}, {"additionalProperties", false}};
        const Json& schema = tool.parameters ? *tool.parameters : kNothing;
        SchemaSource source(schema, limits_);
        json_ = std::make_unique<JsonWriter>(builder_, source, limits_, false);
        source_ = &source;
        strict_ = tool.strict;
        std::vector<Shape> shapes;
        attempt([&] { shapes = json_->shapes().of({&schema}); });
        std::erase_if(shapes, [](const Shape& shape) { return !shape.has(JsonTypes::object); });
        if (shapes.empty() && !strict_) shapes.emplace_back();
        for (const Shape& shape : shapes) write_parameters(from, to, shape);
        json_.reset();
    }

  private:
    // False if it failed, and need not be done: then the writer of JSON is a new one, as the rules of the old
    // one may be incomplete. What was written of them leads nowhere.
    template <class Work>
    bool attempt(const Work& work) {
        try {
            work();
            return true;
        } catch (const GrammarError&) {
            if (strict_) throw;
            json_ = std::make_unique<JsonWriter>(builder_, *source_, limits_, false);
            return false;
        }
    }

    void write_parameters(NodeId from, NodeId to, const Shape& shape) {
        std::optional<std::vector<JsonWriter::Member>> members;
        const bool known = attempt([&] { members = json_->members_of(shape); });
        if (!known) members.emplace();
        if (!members) return;
        // As in JSON: nothing is written yet, or something is, and then a line ends before what follows.
        std::vector<std::pair<NodeId, bool>> ways = {{from, false}};
        for (const auto& member : *members) {
            const RuleId rule = builder_.rule(member.name);
            write_parameter(builder_.begin(rule), builder_.end(rule), member);
            ways = with(ways, rule, member.required);
        }
        if (!known || !json_->is_closed(shape)) {
            const RuleId other = builder_.rule("other parameter"), next = builder_.rule("next parameter");
            write_other(builder_.begin(other), builder_.end(other));
            const NodeId line = builder_.node();
            builder_.text(builder_.begin(next), line, "\n");
            builder_.call(line, builder_.end(next), other);
            const NodeId begun = builder_.node();
            for (const auto& [node, written] : ways) {
                builder_.skip(node, to);
                builder_.call(node, begun, written ? next : other);
            }
            builder_.repeat(begun, to, next, 0, kNoLimit);
            return;
        }
        for (const auto& [node, written] : ways) builder_.skip(node, to);
    }

    std::vector<std::pair<NodeId, bool>> with(const std::vector<std::pair<NodeId, bool>>& ways, RuleId rule,
                                              bool required) {
        const NodeId behind = builder_.node();
        std::vector<std::pair<NodeId, bool>> next = {{behind, true}};
        for (const auto& [node, written] : ways) {
            NodeId at = node;
            if (written) {
                at = builder_.node();
                builder_.text(node, at, "\n");
            }
            builder_.call(at, behind, rule);
            if (required) continue;
            if (written)
                builder_.skip(node, behind);
            else
                next.emplace_back(node, false);
        }
        return next;
    }

    void write_parameter(NodeId from, NodeId to, const JsonWriter::Member& member) {
        const NodeId name = builder_.node(), last = builder_.node();
        write_fixed(builder_, from, name, protocol_.parameter_start + member.name);
        write_fixed(builder_, last, to, protocol_.parameter_end);
        const bool done = attempt([&] {
            // Nodes of their own: what fails leaves nothing between these.
            const NodeId first = builder_.node(), end = builder_.node();
            for (const Shape& shape : json_->shapes().of(member.schemas)) write_value(first, end, shape);
            json_->write_all();
            builder_.skip(name, first);
            builder_.skip(end, last);
        });
        if (!done) write_any_value(name, last);
    }

    void write_value(NodeId from, NodeId to, const Shape& shape) {
        Shape json = shape;
        json.types &= ~static_cast<unsigned>(JsonTypes::string);
        const NodeId text = builder_.node(), value = builder_.node();
        builder_.text(from, text, "\" string=\"true\">");
        builder_.text(from, value, "\" string=\"false\">");
        if (json.types != 0) json_->write_shape(value, to, json);
        if (shape.has(JsonTypes::string)) write_text(text, to, shape);
    }

    void write_text(NodeId from, NodeId to, const Shape& shape) {
        Shapes& shapes = json_->shapes();
        if (shape.values) {
            std::vector<std::string> texts;
            for (const Json* value : *shape.values)
                if (value->is_string() && shapes.fits(*value, shape))
                    texts.push_back(value->get<std::string>());
            if (!texts.empty()) builder_.texts(from, to, std::move(texts));
            return;
        }
        const bool no_most = shape.most_length == Shape::kAny;
        if (shape.patterns.empty() && shape.least_length == 0 && no_most)
            return builder_.call(from, to, free_text_);
        if (shape.patterns.empty() && std::max(shape.least_length, no_most ? 0 : shape.most_length) > kLong) {
            // Too long for an automaton that counts and looks for letters of the sentinel; one of them it cannot
            // have.
            const auto most = no_most ? kNoLimit : static_cast<std::uint32_t>(shape.most_length);
            return builder_.repeat(from, to, unbarred_, static_cast<std::uint32_t>(shape.least_length), most);
        }
        CharAutomaton::both(shapes.strings(shape), no_sentinel_, most_)
            .write(builder_, from, to, CharAutomaton::As::utf8);
    }

    void write_any_value(NodeId from, NodeId to) {
        Shape any;
        write_value(from, to, any);
        json_->write_all();
    }

    // A parameter of any name.
    void write_other(NodeId from, NodeId to) {
        const NodeId name = builder_.node(), behind = builder_.node(), last = builder_.node();
        write_fixed(builder_, from, name, protocol_.parameter_start);
        grammar::write(builder_, name, behind, parse_regex(kOtherName).main, {});
        write_any_value(behind, last);
        write_fixed(builder_, last, to, protocol_.parameter_end);
    }

    Builder& builder_;
    const ChatProtocol& protocol_;
    Limits limits_;
    std::size_t most_;
    CharAutomaton no_sentinel_;
    RuleId free_text_, unbarred_;
    std::unique_ptr<JsonWriter> json_;
    SchemaSource* source_ = nullptr;
    bool strict_ = false;
};

}  // namespace

GrammarPtr compile_tool_calls(std::span<const CallableTool> tools, const CallBlock& block,
                              const Limits& limits) {
    if (tools.empty()) throw GrammarError("a call is wanted, but there are no tools");
    const ChatProtocol& protocol = protocol_of(block.format);
    Builder builder(limits);
    const RuleId whole = builder.rule("block of calls"), call = builder.rule("call"),
                 next = builder.rule("next call");
    ToolWriter writer(builder, protocol, limits);
    for (const CallableTool& tool : tools) {
        const NodeId parameters = builder.node(), last = builder.node();
        write_fixed(builder, builder.begin(call), parameters,
                    protocol.invoke_start + tool.name + std::string(kInvokeNameEnd));
        writer.write(parameters, last, tool);
        write_fixed(builder, last, builder.end(call), "\n" + protocol.invoke_end);
    }
    const NodeId line = builder.node();
    builder.text(builder.begin(next), line, "\n");
    builder.call(line, builder.end(next), call);
    const NodeId first = builder.node(), more = builder.node(), last = builder.node();
    write_fixed(builder, builder.begin(whole), first, protocol.calls_start);
    builder.call(first, more, call);
    builder.repeat(more, last, next, 0, block.parallel ? kNoLimit : 0);
    write_fixed(builder, last, builder.end(whole), "\n" + protocol.calls_end);
    return builder.finish();
}

ToolCallConstraint::ToolCallConstraint(GrammarPtr grammar, std::shared_ptr<const TokenTrie> trie,
                                       CallRules rules)
    : grammar_(std::move(grammar)), trie_(std::move(trie)), rules_(std::move(rules)) {
    CACHALOT_CHECK(grammar_ || rules_.choice == CallChoice::none);
    if (rules_.reasoning_end) return;
    reasoning_ = 0;
    if (rules_.choice == CallChoice::required) enter_block(false);
}

// `at_mark`: the beginning of the block's first tag has been written as free text.
void ToolCallConstraint::enter_block(bool at_mark) {
    static constexpr Symbol kBegun[] = {'\n', '\n', '<', kFirstMark};
    before_block_ = tokens_.size();
    block_ = std::make_unique<GrammarConstraint>(
        grammar_, trie_, rules_.end_tokens, std::vector{rules_.mark},
        at_mark ? std::span<const Symbol>(kBegun) : std::span<const Symbol>());
}

bool ToolCallConstraint::may_begin() const {
    if (rules_.choice == CallChoice::none || tokens_.empty()) return false;
    const std::string_view text = trie_->bytes(tokens_.back());
    return text.ends_with('<');
}

std::vector<std::int32_t> ToolCallConstraint::forced() const {
    return block_ ? block_->forced() : std::vector<std::int32_t>();
}

void ToolCallConstraint::mask(std::span<float> logits) {
    if (block_) return block_->mask(logits);
    const auto mark = static_cast<std::size_t>(rules_.mark);
    if (!reasoning_ || may_begin() || mark >= logits.size()) return;
    const float logit = std::exchange(logits[mark], kForbidden);
    if (std::none_of(logits.begin(), logits.end(), [](float other) { return other > kForbidden; }))
        logits[mark] = logit;
}

bool ToolCallConstraint::allows(std::int32_t token) const {
    if (block_) return block_->allows(token);
    return !reasoning_ || token != rules_.mark || may_begin();
}

void ToolCallConstraint::accept(std::int32_t token) {
    tokens_.push_back(token);
    if (block_) return block_->accept(token);
    if (!reasoning_) {
        if (token != rules_.reasoning_end) return;
        reasoning_ = tokens_.size();
        if (rules_.choice == CallChoice::required) enter_block(false);
    } else if (token == rules_.mark && rules_.choice == CallChoice::automatic) {
        enter_block(true);
    }
}

void ToolCallConstraint::rollback(std::size_t count) {
    CACHALOT_CHECK(count <= tokens_.size());
    tokens_.resize(tokens_.size() - count);
    if (block_ && tokens_.size() >= before_block_)
        block_->rollback(count);
    else
        block_.reset();
    if (rules_.reasoning_end && reasoning_ && tokens_.size() < *reasoning_) reasoning_.reset();
}

}  // namespace cachalot::grammar
