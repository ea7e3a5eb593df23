#include "server/api/answer.h"

#include <algorithm>
#include <mutex>
#include <utility>

#include "server/api/common.h"

namespace cachalot::server {
namespace {

using Clock = std::chrono::steady_clock;

void add(Usage& sum, const Usage& usage) {
    sum.prompt_tokens += usage.prompt_tokens;
    sum.cached_tokens += usage.cached_tokens;
    sum.completion_tokens += usage.completion_tokens;
    sum.reasoning_tokens += usage.reasoning_tokens;
}

// Requests of one answer run side by side: of their times the longest counts.
void add(std::optional<RequestTimings>& all, const std::optional<RequestTimings>& timings) {
    if (!timings) return;
    RequestTimings& sum = all ? *all : all.emplace();
    sum.prompt_seconds = std::max(sum.prompt_seconds, timings->prompt_seconds);
    sum.answer_seconds = std::max(sum.answer_seconds, timings->answer_seconds);
    sum.drafts.add(timings->drafts);
}

// Events come on the service's thread, possibly before submit() has returned. The mutex is never held for
// long, as the model waits for it.
class Run {
  public:
    Run(std::unique_ptr<Answer> answer, std::shared_ptr<ResponseWriter> writer, AnswerOptions options,
        std::size_t requests)
        : answer_(std::move(answer)),
          writer_(std::move(writer)),
          options_(std::move(options)),
          running_(requests) {}

    void sized(std::int64_t prompt_tokens) {
        const std::lock_guard lock(mutex_);
        answer_->sized(prompt_tokens_ += prompt_tokens);
    }

    // From now on events are answered. Those before have waited, as the answer could still be a refusal.
    void begin(const std::vector<std::shared_ptr<Job>>& jobs) {
        const std::lock_guard lock(mutex_);
        jobs_.assign(jobs.begin(), jobs.end());
        begin_stream();
        for (Event& event : std::exchange(early_, {})) handle(event);
    }

    void on(Event event) {
        const std::lock_guard lock(mutex_);
        if (begun_)
            handle(event);
        else
            early_.push_back(std::move(event));
    }

    bool refuse(const ApiError& error) {
        if (!options_.stream || !answer_->fails_in_stream(error)) return false;
        const std::lock_guard lock(mutex_);
        begin_stream();
        end_stream(answer_->fail(error));
        return true;
    }

  private:
    void begin_stream() {
        begun_ = true;
        sent_ = Clock::now();
        if (!options_.stream) return;
        writer_->start_stream();
        send(answer_->start());
    }

    void handle(Event& event) {
        if (over_) return;
        if (event.kind == Event::Kind::done) {
            add(usage_, event.usage);
            add(timings_, event.timings);
            if (--running_ > 0) return;
            event.usage = usage_;
            event.timings = timings_;
        }
        const bool failed = event.kind == Event::Kind::failed;
        over_ = failed || event.kind == Event::Kind::done;
        if (failed)
            for (const auto& weak : jobs_)
                if (const auto job = weak.lock()) job->cancel();
        options_.stream ? stream(event) : collect(event);
    }

    void stream(const Event& event) {
        if (event.kind == Event::Kind::progress) {
            if (Clock::now() - sent_ >= options_.keep_alive) send(answer_->keep_alive(event));
            return;
        }
        std::string bytes =
            event.kind == Event::Kind::failed ? answer_->fail(*event.error) : answer_->feed(event);
        if (over_) return end_stream(std::move(bytes));
        send(std::move(bytes));
    }

    void collect(const Event& event) {
        if (event.kind == Event::Kind::failed)
            return respond_error(*writer_, *event.error, answer_->error_body(*event.error));
        answer_->feed(event);
        if (over_) writer_->respond(200, "application/json", answer_->whole());
    }

    void end_stream(std::string bytes) {
        send(std::move(bytes));
        writer_->finish();
    }

    void send(std::string bytes) {
        if (bytes.empty()) return;
        writer_->write(std::move(bytes));
        sent_ = Clock::now();
    }

    std::mutex mutex_;  // of what follows
    std::unique_ptr<Answer> answer_;
    std::shared_ptr<ResponseWriter> writer_;
    AnswerOptions options_;
    std::size_t running_;  // requests
    bool begun_ = false, over_ = false;
    std::vector<Event> early_;              // before begin()
    std::vector<std::weak_ptr<Job>> jobs_;  // which hold this
    std::int64_t prompt_tokens_ = 0;        // of the requests that are sized
    Usage usage_;                           // of those that are done
    std::optional<RequestTimings> timings_;
    Clock::time_point sent_;
};

// Passes on everything but reasoning. In its place there is progress from time to time: the connection must
// not look dead while the model thinks.
Service::Sink without_reasoning(Service::Sink sink) {
    static constexpr std::chrono::seconds kPause{2};
    return [sink = std::move(sink), last = Clock::now(), size = std::int64_t{0}](const Event& event) mutable {
        if (event.kind == Event::Kind::started) size = event.usage.prompt_tokens;
        if (event.kind != Event::Kind::reasoning) return sink(event);
        if (Clock::now() - last < kPause) return;
        last = Clock::now();
        Event progress{Event::Kind::progress};
        progress.choice = event.choice;
        progress.progress_done = progress.progress_total = size;
        sink(progress);
    };
}

// Hands a request to the service for the client behind `writer`: it is given up when the client goes, and its
// tokens are noted for the audit log.
std::shared_ptr<Job> submit(Service& service, Request request, const std::shared_ptr<ResponseWriter>& writer,
                            Service::Sink sink) {
    request.id = writer->request_id();
    request.abandoned = [writer] { return writer->client_gone(); };
    if (request.hide_reasoning) sink = without_reasoning(std::move(sink));
    return service.submit(std::move(request),
                          [writer, sink = std::move(sink), model = service.info().id](const Event& event) {
                              const Usage& usage = event.usage;
                              if (event.kind == Event::Kind::started)
                                  writer->annotate({model, usage.prompt_tokens, usage.cached_tokens, 0});
                              else if (event.kind == Event::Kind::done)
                                  writer->annotate({model, 0, 0, usage.completion_tokens});
                              sink(event);
                          });
}

}  // namespace

void run_answers(Service& service, std::vector<Request> requests, std::unique_ptr<Answer> answer,
                 std::shared_ptr<ResponseWriter> writer, AnswerOptions options) {
    const auto run = std::make_shared<Run>(std::move(answer), writer, std::move(options), requests.size());
    std::vector<std::shared_ptr<Job>> jobs;
    jobs.reserve(requests.size());
    try {
        int choice = 0;  // the first of the request
        for (Request& request : requests) {
            request.sized = [run](std::int64_t prompt_tokens) { run->sized(prompt_tokens); };
            const int first = std::exchange(choice, choice + request.n);
            jobs.push_back(submit(service, std::move(request), writer, [run, first](const Event& event) {
                Event counted = event;
                counted.choice += first;
                run->on(std::move(counted));
            }));
        }
        run->begin(jobs);
    } catch (...) {
        for (const auto& job : jobs) job->cancel();  // else they would go on for nobody
        try {
            throw;
        } catch (const ApiError& error) {
            if (jobs.size() < requests.size() && run->refuse(error)) return;
            throw;
        }
    }
}

void run_answer(Service& service, Request request, std::unique_ptr<Answer> answer,
                std::shared_ptr<ResponseWriter> writer, AnswerOptions options) {
    std::vector<Request> requests;
    requests.push_back(std::move(request));
    run_answers(service, std::move(requests), std::move(answer), std::move(writer), std::move(options));
}

}  // namespace cachalot::server
