#include "server/http/status.h"

#include <nlohmann/json.hpp>

#include "server/http/error.h"
#include "service/client_error.h"

namespace cachalot::server {
namespace {

using Writer = std::shared_ptr<ResponseWriter>;

void respond_json(const Writer& writer, int status, const nlohmann::ordered_json& body,
                  const ResponseWriter::Headers& headers = {}) {
    writer->respond(status, "application/json", body.dump(), headers);
}

void respond_error(const HttpRequest& request, const Writer& writer, int status, std::string_view message,
                   std::string_view code, const ResponseWriter::Headers& headers = {}) {
    writer->respond(status, "application/json", error_body(request.path, status, message, code), headers);
}

// Whether there was a problem, which then is the answer.
bool told_problem(const StatusOptions& o, const HttpRequest& request, const Writer& writer) {
    const bool problem = o.problem && !o.problem().empty();
    if (problem) respond_error(request, writer, 503, kModelChanged, "model_changed");
    return problem;
}

}  // namespace

std::vector<Route> status_routes(StatusOptions options) {
    auto o = std::make_shared<const StatusOptions>(std::move(options));
    std::vector<Route> routes;
    routes.push_back({"GET", "/",
                      [o](const HttpRequest&, Writer writer) {
                          respond_json(writer, 200, {{"name", "cachalot"}, {"version", o->version}});
                      },
                      true});
    routes.push_back({"GET", "/health",
                      [o](const HttpRequest& request, Writer writer) {
                          if (!told_problem(*o, request, writer))
                              respond_json(writer, 200, {{"status", "ok"}});
                      },
                      true});
    routes.push_back({"GET", "/ready",
                      [o](const HttpRequest& request, Writer writer) {
                          if (told_problem(*o, request, writer)) return;
                          if (!o->ready || o->ready())
                              respond_json(writer, 200, {{"status", "ready"}});
                          else
                              respond_error(request, writer, 503,
                                            "The model is being loaded, or the server stops.", "not_ready",
                                            {{"Retry-After", "1"}});
                      },
                      true});
    routes.push_back({"GET", "/version",
                      [o](const HttpRequest&, Writer writer) {
                          respond_json(writer, 200, {{"version", o->version}});
                      },
                      true});
    if (o->metrics)
        routes.push_back({"GET", "/metrics",
                          [o](const HttpRequest&, Writer writer) {
                              writer->respond(200, "text/plain; version=0.0.4; charset=utf-8",
                                              o->metrics->text());
                          },
                          o->metrics_open});
    for (const char* path : {"/v1/embeddings", "/v1/rerank", "/rerank"})
        routes.push_back({"POST", path, [](const HttpRequest& request, Writer writer) {
                              respond_error(request, writer, 501,
                                            "The DeepSeek V4 family makes neither embeddings nor rankings.",
                                            "not_implemented");
                          }});
    return routes;
}

std::vector<Route> loading_routes() {
    std::vector<Route> routes;
    for (const char* method : {"GET", "POST"})
        routes.push_back({method, "/{path}", [](const HttpRequest& request, Writer writer) {
                              respond_error(request, writer, 503, "The model is being loaded.", "loading",
                                            {{"Retry-After", "2"}});
                          }});
    return routes;
}

}  // namespace cachalot::server
