#include "grammar/json_schema.h"

#include "grammar/builder.h"
#include "grammar/json_writer.h"
#include "grammar/schema_source.h"

namespace cachalot::grammar {
namespace {

GrammarPtr compile(const Json& schema, const Limits& limits, bool open) {
    SchemaSource source(schema, limits);
    Builder builder(limits);
    const RuleId whole = builder.rule("#");
    JsonWriter writer(builder, source, limits, open);
    builder.call(builder.begin(whole), builder.end(whole), writer.rule_of({&schema}));
    writer.write_all();
    return builder.finish();
}

}  // namespace

GrammarPtr compile_json_schema(const Json& schema, const Limits& limits) {
    return compile(schema, limits, false);
}

GrammarPtr compile_open_json_schema(const Json& schema, const Limits& limits) {
    return compile(schema, limits, true);
}

GrammarPtr compile_json_object() {
    static const Json kObject = {{"type", "object"}};
    return compile(kObject, {}, false);
}

}  // namespace cachalot::grammar
