// What a text must look like, compiled once: the form in which all grammars (JSON schemas, regular
// expressions, lists of choices, EBNF) reach the constraint that holds an answer to them.
#pragma once

#include <cstddef>
#include <memory>
#include <string_view>

#include "base/error.h"

namespace cachalot::grammar {

// Names the place (a path in a schema, a line and column in a grammar) and the remedy. Whoever made the
// grammar can do something about it, so a server answers 400.
class GrammarError : public Error {
  public:
    using Error::Error;
};

// How much a source may ask for. A source beyond a limit is refused with a GrammarError.
struct Limits {
    std::size_t source_bytes = std::size_t{1} << 19;  // of a schema: about what its JSON text has
    std::size_t nesting = 128;                        // of values in a schema, of brackets in a grammar
    std::size_t nodes = std::size_t{1} << 19;         // of the automaton
    std::size_t alternatives = std::size_t{1} << 14;  // looked at while allOf, anyOf and oneOf are combined
    std::size_t products = std::size_t{1} << 14;      // states of patterns, and where they hold together
};

struct Program;
class States;

// A byte-level pushdown automaton (program.h). Immutable to the eye, and shared between threads; the states
// that answers have reached are kept with it, behind a lock.
class Grammar {
  public:
    explicit Grammar(std::unique_ptr<const Program> program);
    ~Grammar();

    const Program& program() const { return *program_; }
    States& states() const { return *states_; }

  private:
    std::unique_ptr<const Program> program_;
    std::unique_ptr<States> states_;
};

using GrammarPtr = std::shared_ptr<const Grammar>;

// Whether the whole text is in the language.
bool matches(const Grammar& grammar, std::string_view text);

}  // namespace cachalot::grammar
