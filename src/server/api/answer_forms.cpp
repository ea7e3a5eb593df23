#include "server/api/answer_forms.h"

#include <algorithm>

#include "text/chat_json.h"

namespace cachalot::server {
namespace {

using Kind = AnswerForm::Kind;

AnswerForm form_of(Kind kind, const Field& source) {
    AnswerForm form;
    form.kind = kind;
    form.source = source.path();
    return form;
}

// Clients that send all of their settings say "no form" in several ways.
bool is_off(const Field& field) {
    if (!field) return true;
    const ordered_json& value = field.json();
    return value == false || value == "" || (value.is_array() && value.empty());
}

// A schema, or the text of one.
AnswerForm schema_form(const Field& field) {
    AnswerForm form = form_of(Kind::json_schema, field);
    if (!field.is_string()) {
        form.schema = field.object();
        return form;
    }
    try {
        form.schema = parse_json(field.string(), field.path());
    } catch (const Error& e) {
        throw ApiError(400, "invalid_request", e.what(), field.path());
    }
    if (!form.schema.is_object()) field.refuse("the text is no JSON object");
    return form;
}

AnswerForm text_form(Kind kind, const Field& field) {
    AnswerForm form = form_of(kind, field);
    form.text = field.string();
    return form;
}

AnswerForm choice_form(const Field& field) {
    AnswerForm form = form_of(Kind::choice, field);
    for (std::size_t i = 0; i < field.size(); ++i) form.choices.push_back(field[i].string());
    return form;
}

// Whether any JSON object will do.
AnswerForm object_form(const Field& field) {
    return field.boolean() ? form_of(Kind::json_object, field) : AnswerForm();
}

void refuse_others(const Field& object, std::initializer_list<std::string_view> known) {
    for (const auto& [name, value] : object.object().items())
        if (!value.is_null() && std::find(known.begin(), known.end(), name) == known.end())
            object.member(name, value)
                .refuse(fmt::format("not supported; there are {}", fmt::join(known, ", ")));
}

// What a schema is for belongs to what the model is told of it.
void describe(AnswerForm& form, const Field& description) {
    if (!description || description.string().empty() || form.schema.contains("description")) return;
    ordered_json described = {{"description", description.string()}};
    described.update(form.schema);
    form.schema = std::move(described);
}

// A schema with its name and more, as OpenAI has it. Every schema is kept to, strict or not.
AnswerForm named_schema(const Field& named) {
    named["name"].string_or("");
    named["strict"].boolean_or(false);
    AnswerForm form = schema_form(named["schema"]);
    describe(form, named["description"]);
    return form;
}

// OpenAI's `response_format` and what Responses and Anthropic made of it. `flat`: a schema and what belongs
// to it stand beside the type.
AnswerForm typed_form(const Field& field, bool flat) {
    if (field.is_string() && field.string() == "text") return {};
    const Field type = field["type"];
    if (type.string() == "text") {
        refuse_others(field, {"type"});
        return {};
    }
    if (type.string() == "json_object") {
        refuse_others(field, {"type", "schema"});
        return field["schema"] ? schema_form(field["schema"]) : form_of(Kind::json_object, type);
    }
    if (type.string() != "json_schema") type.refuse("expected text, json_object or json_schema");
    if (flat || (field["schema"] && !field["json_schema"])) {
        refuse_others(field, {"type", "name", "schema", "strict", "description"});
        return named_schema(field);
    }
    refuse_others(field, {"type", "json_schema"});
    refuse_others(field["json_schema"], {"name", "schema", "strict", "description"});
    return named_schema(field["json_schema"]);
}

// Ollama's: "json", or a schema.
AnswerForm ollama_form(const Field& field) {
    if (!field.is_string()) return schema_form(field);
    if (field.string() != "json") field.refuse("expected json or a schema");
    return form_of(Kind::json_object, field);
}

class Reader {
  public:
    AnswerForm take() { return std::move(form_); }

    void add(AnswerForm form, const Field& field) {
        if (!form) return;
        if (form_) field.refuse(fmt::format("{} asks for a form already; an answer has one", path_));
        form_ = std::move(form);
        path_ = field.path();
    }

    // A field that is not off.
    template <class Read>
    void read(const Field& field, const Read& read) {
        if (!is_off(field)) add(read(field), field);
    }

    // vLLM's names, at the top ("guided_json") or in an object.
    void read_guided(const Field& parent, std::string_view prefix) {
        const auto member = [&](const char* name) {
            return parent[fmt::format("{}{}", prefix, name).c_str()];
        };
        read(member("json"), schema_form);
        read(member("json_object"), object_form);
        read(member("regex"), [](const Field& f) { return text_form(Kind::regex, f); });
        read(member("choice"), choice_form);
        read(member("grammar"), [](const Field& f) { return text_form(Kind::ebnf, f); });
    }

    void read_structured(const Field& field) {
        if (!field || field.json() == false) return;
        refuse_others(field,
                      {"json", "json_object", "regex", "choice", "grammar", "disable_fallback",
                       "disable_any_whitespace", "disable_additional_properties", "whitespace_pattern"});
        for (const char* name : {"disable_any_whitespace", "disable_additional_properties"})
            if (const Field flag = field[name]; flag && flag.boolean())
                flag.refuse("not supported; the schema says what there may be");
        if (const Field pattern = field["whitespace_pattern"])
            pattern.refuse("not supported; JSON may have white space where JSON has it");
        read_guided(field, "");
    }

  private:
    AnswerForm form_;
    std::string path_;  // where it was said
};

}  // namespace

AnswerForm read_answer_form(const Field& body, Dialect dialect) {
    Reader reader;
    if (dialect == Dialect::chat || dialect == Dialect::completions)
        if (const Field format = body["response_format"]) reader.add(typed_form(format, false), format);
    if (dialect == Dialect::responses && body["text"])
        if (const Field format = body["text"]["format"]) reader.add(typed_form(format, true), format);
    if (dialect == Dialect::messages) {
        if (const Field format = body["output_format"]) reader.add(typed_form(format, true), format);
        if (const Field config = body["output_config"])
            if (const Field format = config["format"]) reader.add(typed_form(format, true), format);
    }
    reader.read_guided(body, "guided_");
    reader.read_structured(body["structured_outputs"]);
    reader.read(body["json_schema"], schema_form);
    reader.read(body["grammar"], [](const Field& f) { return text_form(Kind::gbnf, f); });
    reader.read(body["regex"], [](const Field& f) { return text_form(Kind::regex, f); });
    reader.read(body["ebnf"], [](const Field& f) { return text_form(Kind::ebnf, f); });
    reader.read(body["format"], ollama_form);
    return reader.take();
}

}  // namespace cachalot::server
