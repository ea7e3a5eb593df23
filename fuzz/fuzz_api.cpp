// JSON from a client to an answer, in each dialect: refused with status 400 or answered, never 500.
//
// Input: one byte that chooses the endpoint, then the body. The form of an answer is compiled; the model
// answers at once, always the same.
#include <cstdint>
#include <string>

#include "base/error.h"
#include "server/api/anthropic.h"
#include "server/api/openai.h"
#include "server/api/responses.h"
#include "service/prepared_prompt.h"

using namespace cachalot;
using namespace cachalot::server;

namespace {

class Parrot final : public Service {
  public:
    Parrot() {
        info_.id = "parrot";
        info_.context = 4096;
        info_.vocab_size = 1000;
    }
    const ModelInfo& info() const override { return info_; }
    bool ready() const override { return true; }
    // Events come after submit(), as from a worker.
    std::shared_ptr<Job> submit(Request request, Sink sink) override {
        check_form(request);
        queued_.push_back([n = request.n, sink = std::move(sink)] { answer(n, sink); });
        return nullptr;
    }
    void work() {
        for (const auto& job : std::exchange(queued_, {})) job();
    }
    static void answer(int choices, const Sink& sink) {
        server::Event event{};
        event.kind = server::Event::Kind::started;
        event.usage = {100, 0, 0, 0};
        sink(event);
        for (int choice = 0; choice < choices; ++choice) {
            event.choice = choice;
            event.kind = server::Event::Kind::reasoning;
            event.text = "Hm.";
            sink(event);
            event.kind = server::Event::Kind::content;
            event.text = "Hello";
            sink(event);
            event.kind = server::Event::Kind::finished;
            event.finish_reason = "stop";
            sink(event);
        }
        event.kind = server::Event::Kind::done;
        sink(event);
    }
    std::int64_t count_tokens(const Request&) const override { return 100; }
    std::string render(const Request&) const override { return "prompt"; }
    std::vector<std::int32_t> tokenize(std::string_view, bool) const override { return {1, 2}; }
    std::string detokenize(std::span<const std::int32_t>) const override { return "text"; }
    void drain(std::chrono::steady_clock::time_point) override {}

  private:
    ModelInfo info_;
    std::vector<std::function<void()>> queued_;
};

class Writer final : public ResponseWriter {
  public:
    int status = 0;
    bool over = false;
    void respond(int code, std::string_view, std::string, const Headers&) override {
        CACHALOT_CHECK(status == 0);
        status = code;
        over = true;
    }
    void start_stream(const Headers&) override {
        CACHALOT_CHECK(status == 0);
        status = 200;
    }
    void write(std::string) override { CACHALOT_CHECK(status == 200 && !over); }
    void finish() override { over = true; }
    bool client_gone() const override { return false; }
};

std::vector<Route> post_routes(Service& service) {
    std::vector<Route> routes;
    for (const auto& dialect : {openai_routes(service), anthropic_routes(service), responses_routes(service)})
        for (const auto& route : dialect)
            if (route.method == "POST") routes.push_back(route);
    return routes;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    static Parrot parrot;
    static const std::vector<Route> routes = post_routes(parrot);
    if (size == 0) return 0;
    const Route& route = routes[data[0] % routes.size()];
    HttpRequest request;
    request.method = "POST";
    request.path = route.path;
    request.body.assign(reinterpret_cast<const char*>(data) + 1, size - 1);
    auto writer = std::make_shared<Writer>();
    try {
        route.endpoint(request, writer);
        parrot.work();
    } catch (const Error&) {
        parrot.work();  // of other prompts of the same request
        return 0;       // which the transport makes a 400
    }
    CACHALOT_CHECK(writer->over && (writer->status == 200 || writer->status == 400 || writer->status == 404 ||
                                    writer->status == 501));
    return 0;
}
