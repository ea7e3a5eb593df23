// Schemas come from clients: whatever refers to whatever, reading one takes as long as it is.
#include "text/compiled_schema.h"

#include <gtest/gtest.h>

#include "support/growth.h"
#include "text/json_fit.h"
#include "text/tool_schema.h"

namespace cachalot {
namespace {

using nlohmann::ordered_json;
using test::growth, test::kLinearGrowth;

// The text is made a number only where the schema does not admit strings.
std::string fitted(const ordered_json& schema) {
    const CompiledSchema compiled(schema);
    return fit_json({"a", true, "5"}, compiled.root().member("a"), nullptr);
}

// Each would take 4^16 steps if what a node refers to were looked at each time.
TEST(CompiledSchema, ANodeMayReferToItselfManyTimes) {
    for (const char* key : {"anyOf", "oneOf", "allOf"}) {
        for (const char* a : {"#/properties/a", "#/properties/b", "#", "#/properties/a/KEY/0", "#/nowhere"}) {
            std::string path = a;
            if (const auto at = path.find("KEY"); at != std::string::npos) path.replace(at, 3, key);
            const ordered_json reference = {{"$ref", path}};
            ordered_json schema;
            schema["properties"]["a"][key] = {reference, reference, reference, reference};
            schema["properties"]["b"][key] = {{{"$ref", "#/properties/a"}}, {{"$ref", "#/properties/a"}}};
            EXPECT_EQ(fitted(schema), "\"5\"") << schema;
        }
    }
}

TEST(CompiledSchema, ALadderOfAlternativesIsClimbedOnce) {
    ordered_json schema;
    const auto reference = [](int i) { return ordered_json{{"$ref", "#/$defs/" + std::to_string(i)}}; };
    for (int i = 0; i < 15; i++)
        schema["$defs"][std::to_string(i)]["anyOf"] = ordered_json(40, reference(i + 1));
    schema["$defs"]["15"]["type"] = "integer";
    schema["properties"]["a"] = reference(0);
    EXPECT_EQ(fitted(schema), "5");
    for (int i = 16; i < 20'000; i++) schema["$defs"][std::to_string(i)]["anyOf"] = {reference(i + 1)};
    schema["properties"]["a"] = reference(16);
    EXPECT_EQ(fitted(schema), "\"5\"");  // too many to follow: anything goes
}

TEST(CompiledSchema, TakesLinearTime) {
    struct Input {
        ordered_json schema, value;
    };
    const auto enum_of_items = [](std::size_t n) {
        Input input;
        for (std::size_t i = 0; i < n; i++) input.schema["properties"]["a"]["items"]["enum"].push_back(i);
        input.value = ordered_json(10 * n, "5");
        return input;
    };
    // Pushed at the end: to assign by name would search for each.
    const auto members = [](std::size_t n) {
        ordered_json::object_t schemas, values, definitions;
        for (std::size_t i = 0; i < n; i++) {
            const std::string name = std::to_string(i);
            schemas.emplace_back(name, ordered_json{{"$ref", "#/$defs/" + name}});
            values.emplace_back(name, "5");
            definitions.emplace_back(name, ordered_json{{"type", "integer"}});
        }
        Input input;
        input.schema["properties"]["a"]["properties"] = std::move(schemas);
        input.schema["$defs"] = std::move(definitions);
        input.value = std::move(values);
        return input;
    };
    // What is asked of the schema of the items lies behind much else.
    const auto late_keys = [](std::size_t n) {
        ordered_json::object_t schema;
        for (std::size_t i = 0; i < n; i++) schema.emplace_back("x" + std::to_string(i), i);
        schema.emplace_back("items", ordered_json{{"type", "integer"}});
        Input input;
        input.schema["properties"]["a"] = std::move(schema);
        input.value = ordered_json(n, "5");
        return input;
    };
    const auto fit = [](const Input& input) {
        const CompiledSchema compiled(input.schema);
        const ToolArgument argument{"a", false, input.value.dump()};
        fit_json(argument, compiled.root().member("a"), nullptr);
    };
    EXPECT_LT(growth(1000, enum_of_items, fit), kLinearGrowth);
    EXPECT_LT(growth(2000, members, fit), kLinearGrowth);
    EXPECT_LT(growth(2000, late_keys, fit), kLinearGrowth);
}

}  // namespace
}  // namespace cachalot
