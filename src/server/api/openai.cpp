#include "server/api/openai.h"

#include "server/api/openai_write.h"
#include "text/utf8.h"

namespace cachalot::server {
namespace {

constexpr std::string_view kModelPath = "/v1/models/";

ordered_json model_json(const ModelInfo& model) {
    return {{"id", model.id},
            {"object", "model"},
            {"created", model.created},
            {"owned_by", "cachalot"},
            {"context_length", model.context},
            {"max_model_len", model.context}};
}

void list_models(const Service& service, ResponseWriter& writer) {
    // Codex reads `models`, whose entries would carry its instructions: with none it keeps its own.
    respond_json(writer, {{"object", "list"},
                          {"data", ordered_json::array({model_json(service.info())})},
                          {"models", ordered_json::array()}});
}

void get_model(const Service& service, const HttpRequest& request, ResponseWriter& writer) {
    auto id = request.path.substr(std::min(kModelPath.size(), request.path.size()));
    if (id != service.info().id)
        throw ApiError(404, "model_not_found",
                       fmt::format("there is no model '{}'; this server has '{}'",
                                   repair_utf8(id.substr(0, 100)), service.info().id),
                       "model");
    respond_json(writer, model_json(service.info()));
}

// The text under the name that either llama.cpp ("content") or vLLM ("prompt") gives it.
void tokenize(const Service& service, const HttpRequest& request, ResponseWriter& writer) {
    auto json = parse_body(request);
    Field body(json);
    auto text = body["content"] ? body["content"] : body["prompt"];
    auto tokens = service.tokenize(text.string(), body["parse_special"].boolean_or(true));
    ordered_json answer = {
        {"tokens", tokens}, {"count", tokens.size()}, {"max_model_len", service.info().context}};
    if (body["return_token_strs"].boolean_or(false))
        for (auto token : tokens)
            answer["token_strs"].push_back(repair_utf8(service.detokenize({&token, 1})));
    respond_json(writer, answer);
}

void detokenize(const Service& service, const HttpRequest& request, ResponseWriter& writer) {
    auto json = parse_body(request);
    auto list = Field(json)["tokens"];
    std::vector<std::int32_t> tokens;
    for (std::size_t i = 0; i < list.size(); ++i)
        tokens.push_back(static_cast<std::int32_t>(list[i].integer(0, service.info().vocab_size - 1)));
    auto text = repair_utf8(service.detokenize(tokens));
    respond_json(writer, {{"content", text}, {"prompt", text}});
}

}  // namespace

std::vector<Route> openai_routes(Service& service) {
    using Writer = std::shared_ptr<ResponseWriter>;
    std::vector<Route> routes;
    auto add = [&](const char* method, const char* path, Endpoint endpoint) {
        routes.push_back({method, path, with_errors(openai_error_json, std::move(endpoint))});
    };
    add("POST", "/v1/chat/completions", [&service](const HttpRequest& request, Writer writer) {
        openai::answer_chat(service, openai::parse_chat(request, service.info()), writer);
    });
    add("POST", "/v1/completions", [&service](const HttpRequest& request, Writer writer) {
        openai::answer_completion(service, openai::parse_completion(request, service.info()), writer);
    });
    add("GET", "/v1/models",
        [&service](const HttpRequest&, Writer writer) { list_models(service, *writer); });
    add("GET", "/v1/models/{id}",
        [&service](const HttpRequest& request, Writer writer) { get_model(service, request, *writer); });
    add("POST", "/tokenize",
        [&service](const HttpRequest& request, Writer writer) { tokenize(service, request, *writer); });
    add("POST", "/detokenize",
        [&service](const HttpRequest& request, Writer writer) { detokenize(service, request, *writer); });
    add("POST", "/apply-template", [&service](const HttpRequest& request, Writer writer) {
        auto chat = openai::parse_chat(request, service.info());
        respond_json(*writer, {{"prompt", repair_utf8(service.render(chat.request))}});
    });
    return routes;
}

}  // namespace cachalot::server
