// Blocks of tool calls as grammars.
//
//     "\n\n<" M " calls>\n"                                             M: the token of `｜DSML｜`
//     "<" M " invoke name=\"NAME\">\n"                                  of a tool
//     "<" M " parameter name=\"KEY\" string=\"true\">" TEXT "</" M " parameter>" ...
//     "\n</" M " invoke>" ... "\n</" M " calls>"
//
// as V4.1 spells it, and V4 with other words. A grammar fixes all of this but what the model is to decide:
// which tool, which of the parameters that are not required, and values. Parameters stand in the order of
// the schema, and there are no others unless it has `additionalProperties`.
//
// The value of a string is free text up to the tag behind it. Neither that tag's token nor its letters can
// occur in the text, so that it ends where the model ends it. Words of the schema about the string (enum,
// pattern, ...) hold for the text. Other values are JSON that satisfies the parameter's schema.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "grammar/grammar.h"
#include "grammar/grammar_constraint.h"
#include "grammar/json_schema.h"
#include "grammar/token_trie.h"
#include "sampling/token_constraint.h"
#include "text/chat_format.h"

namespace cachalot::grammar {

struct CallableTool {
    std::string name;
    const Json* parameters = nullptr;  // the schema of all arguments; null: there are none
    // A schema that cannot be held to is refused. Without it, what cannot be held to is not: the parameter,
    // or the tool, takes anything.
    bool strict = false;
};

struct CallBlock {
    ChatFormat format = ChatFormat::v4;
    bool parallel = true;  // several calls in one block
};

// Throws GrammarError if there are no tools, or for a strict one.
GrammarPtr compile_tool_calls(std::span<const CallableTool> tools, const CallBlock& block,
                              const Limits& limits = {});

enum class CallChoice {
    none,       // no block can be begun
    automatic,  // the answer is free until it begins a block, and ends with the block
    required,   // the answer is a block
};

struct CallRules {
    CallChoice choice = CallChoice::automatic;
    std::optional<std::int32_t> reasoning_end = {};  // what the answer follows; none: there is no reasoning
    std::int32_t mark = 0;                           // the token of `｜DSML｜`
    std::vector<std::int32_t> end_tokens = {};
};

// Reads all tokens of a turn. Reasoning is free.
class ToolCallConstraint final : public TokenConstraint {
  public:
    // `grammar`: of compile_tool_calls(); it may be null if the choice is `none`.
    ToolCallConstraint(GrammarPtr grammar, std::shared_ptr<const TokenTrie> trie, CallRules rules);

    std::vector<std::int32_t> forced() const override;
    void mask(std::span<float> logits) override;
    bool allows(std::int32_t token) const override;
    void accept(std::int32_t token) override;
    void rollback(std::size_t count) override;

  private:
    void enter_block(bool at_mark);
    // Whether the mark would begin a block here, where the text is free.
    bool may_begin() const;

    GrammarPtr grammar_;
    std::shared_ptr<const TokenTrie> trie_;
    CallRules rules_;
    std::vector<std::int32_t> tokens_;
    std::optional<std::size_t> reasoning_;      // tokens of it, its end included; none while it goes on
    std::unique_ptr<GrammarConstraint> block_;  // null before it begins
    std::size_t before_block_ = 0;              // tokens
};

}  // namespace cachalot::grammar
