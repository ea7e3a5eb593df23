#include "service/metered_service.h"

#include <utility>

namespace cachalot::server {
namespace {

class MeteredService final : public Service {
  public:
    MeteredService(std::unique_ptr<Service> service, Metrics& metrics)
        : service_(std::move(service)), metrics_(metrics) {}

    const ModelInfo& info() const override { return service_->info(); }
    bool ready() const override { return service_->ready(); }

    std::shared_ptr<Job> submit(Request request, Sink sink) override {
        auto observer = std::make_shared<Observer>(Observer{metrics_.request(request.priority)});
        try {
            // The sink runs on one thread at a time, as the meter wants it.
            return service_->submit(std::move(request),
                                    [observer, sink = std::move(sink)](const Event& event) {
                                        observer->see(event);
                                        sink(event);
                                    });
        } catch (const ApiError& e) {
            metrics_.rejected(e.code);
            throw;
        }
    }

    std::int64_t count_tokens(const Request& request) const override {
        return service_->count_tokens(request);
    }
    std::string render(const Request& request) const override { return service_->render(request); }
    std::vector<std::int32_t> tokenize(std::string_view text, bool parse_special) const override {
        return service_->tokenize(text, parse_special);
    }
    std::string detokenize(std::span<const std::int32_t> tokens) const override {
        return service_->detokenize(tokens);
    }
    void drain(std::chrono::steady_clock::time_point deadline) override { service_->drain(deadline); }

  private:
    struct Observer {
        std::unique_ptr<RequestMeter> meter;
        std::string reason = "stop";  // of the last choice

        void see(const Event& event) {
            switch (event.kind) {
                case Event::Kind::started:
                    meter->started(event.usage.prompt_tokens, event.usage.cached_tokens);
                    break;
                case Event::Kind::reasoning:
                case Event::Kind::content:
                case Event::Kind::call_arguments: meter->token(); break;
                case Event::Kind::finished: reason = event.finish_reason; break;
                case Event::Kind::done: meter->finished(reason, event.usage.completion_tokens); break;
                case Event::Kind::failed: meter->finished("error", 0); break;
                default: break;
            }
        }
    };

    std::unique_ptr<Service> service_;
    Metrics& metrics_;
};

}  // namespace

std::unique_ptr<Service> make_metered_service(std::unique_ptr<Service> service, Metrics& metrics) {
    return std::make_unique<MeteredService>(std::move(service), metrics);
}

}  // namespace cachalot::server
