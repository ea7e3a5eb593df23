// JSON schemas (draft 2020-12) as grammars.
//
// What is written, where the standard leaves more than one way:
//
// - Members stand in the order of `properties`. An object with `properties` has no other members unless
//   `additionalProperties` (or `patternProperties`) is given: the standard would admit any, but a model that
//   may invent members is of no use to whoever wrote the schema. Without any of these words it has any
//   members. `prefixItems` are written in full, and nothing after them unless `items` is given.
// - White space is what people write, and bounded, so that a model cannot write blanks for ever: nothing, a
//   space, or a line end with an indentation.
// - Integers have no fraction and no exponent; a number has up to 40 digits before and behind its point.
//   Numbers with bounds or `multipleOf` have no exponent.
// - Characters in strings with a `pattern` or `format` are escaped only where they must be.
//
// Words that are honoured: type, enum, const, properties, required, additionalProperties, patternProperties,
// propertyNames, minProperties and maxProperties (where no member is optional), prefixItems, items, minItems,
// maxItems, minimum, maximum, exclusiveMinimum, exclusiveMaximum, multipleOf, minLength, maxLength, pattern,
// format, $ref, $defs, definitions, allOf, anyOf, oneOf (of alternatives that exclude each other), nullable.
// `pattern` is a regular expression without assertions but ^ and $ (regex.h), and is searched for. `format`
// is date-time, date, time, duration, email, hostname, ipv4, ipv6, uri or uuid; others are annotations, as
// the standard has it. Annotations and words that the standard does not know are ignored. Its other words
// (not, if, contains, uniqueItems, dependentRequired, ...) are refused.
#pragma once

#include <nlohmann/json.hpp>

#include "grammar/grammar.h"

namespace cachalot::grammar {

using Json = nlohmann::ordered_json;

// Throws GrammarError naming the path in the schema ("#/properties/a/not: ...") and the remedy.
GrammarPtr compile_json_schema(const Json& schema, const Limits& limits = {});

// The same, but objects have any members besides those of `properties`, and arrays any items behind
// `prefixItems`, if nothing else is said, as the standard has it.
GrammarPtr compile_open_json_schema(const Json& schema, const Limits& limits = {});

// Any JSON object ("JSON mode").
GrammarPtr compile_json_object();

}  // namespace cachalot::grammar
