// A schema as it came: where its references lead, and where its parts are, for errors.
#pragma once

#include <cstddef>
#include <map>
#include <string>
#include <string_view>
#include <unordered_map>

#include "grammar/json_schema.h"

namespace cachalot::grammar {

class SchemaSource {
  public:
    // Throws GrammarError if the schema is too large or too deep. It has to stay where it is.
    SchemaSource(const Json& root, const Limits& limits);

    const Json& root() const { return root_; }

    // What "$ref" of this schema refers to.
    const Json& target(const Json& schema);

    // "#/properties/a"
    std::string path(const Json& part) const;

    // Throws GrammarError "#/properties/a/KEYWORD: WHAT"; without a keyword it is about the schema.
    [[noreturn]] void fail_at(const Json& schema, std::string_view keyword, std::string_view what) const;

  private:
    const Json* child(const Json& parent, const std::string& name);

    const Json& root_;
    std::unordered_map<std::string, const Json*> targets_;
    // Of objects that references lead through: a list of members is searched from its beginning.
    std::unordered_map<const Json*, std::map<std::string_view, const Json*>> members_;
};

}  // namespace cachalot::grammar
