#include "server/api/answer.h"

#include <mutex>
#include <utility>

#include "server/api/common.h"

namespace cachalot::server {
namespace {

using Clock = std::chrono::steady_clock;

// Events come on the service's thread, possibly before submit() has returned.
class Run {
  public:
    Run(std::unique_ptr<Answer> answer, std::shared_ptr<ResponseWriter> writer, AnswerOptions options)
        : answer_(std::move(answer)), writer_(std::move(writer)), options_(std::move(options)) {}

    void sized(std::int64_t prompt_tokens) {
        const std::lock_guard lock(mutex_);
        answer_->sized(prompt_tokens);
    }

    void begin() {
        const std::lock_guard lock(mutex_);
        begin_stream();
    }

    void on(const Event& event) {
        const std::lock_guard lock(mutex_);
        if (over_) return;
        over_ = event.kind == Event::Kind::done || event.kind == Event::Kind::failed;
        begin_stream();
        if (options_.stream)
            stream(event);
        else
            collect(event);
    }

    bool refuse(const ApiError& error) {
        if (!options_.stream || !answer_->fails_in_stream(error)) return false;
        begin();
        const std::lock_guard lock(mutex_);
        send(answer_->fail(error));
        writer_->finish();
        return true;
    }

  private:
    void begin_stream() {
        if (!options_.stream || std::exchange(begun_, true)) return;
        writer_->start_stream();
        send(answer_->start());
    }

    void stream(const Event& event) {
        if (event.kind == Event::Kind::progress) {
            if (Clock::now() - sent_ >= options_.keep_alive) send(answer_->keep_alive(event));
            return;
        }
        send(event.kind == Event::Kind::failed ? answer_->fail(*event.error) : answer_->feed(event));
        if (over_) writer_->finish();
    }

    void collect(const Event& event) {
        if (event.kind == Event::Kind::failed)
            return respond_error(*writer_, *event.error, answer_->error_body(*event.error));
        answer_->feed(event);
        if (over_) writer_->respond(200, "application/json", answer_->whole());
    }

    void send(std::string bytes) {
        if (bytes.empty()) return;
        writer_->write(std::move(bytes));
        sent_ = Clock::now();
    }

    std::mutex mutex_;
    std::unique_ptr<Answer> answer_;
    std::shared_ptr<ResponseWriter> writer_;
    AnswerOptions options_;
    bool begun_ = false, over_ = false;
    Clock::time_point sent_;
};

}  // namespace

void run_answer(Service& service, Request request, std::unique_ptr<Answer> answer,
                std::shared_ptr<ResponseWriter> writer, AnswerOptions options) {
    auto run = std::make_shared<Run>(std::move(answer), writer, std::move(options));
    request.sized = [run](std::int64_t prompt_tokens) { run->sized(prompt_tokens); };
    std::shared_ptr<Job> job;
    try {
        job = submit(service, std::move(request), writer, [run](const Event& event) { run->on(event); });
        run->begin();
    } catch (const ApiError& error) {
        if (!job && run->refuse(error)) return;
        if (job) job->cancel();
        throw;
    } catch (...) {
        if (job) job->cancel();  // else it would go on for nobody
        throw;
    }
}

}  // namespace cachalot::server
