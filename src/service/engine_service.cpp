#include "service/engine_service.h"

#include <algorithm>
#include <future>
#include <thread>

#include "base/background.h"
#include "base/memory_limit.h"
#include "service/client_error.h"
#include "service/engine_job.h"

namespace cachalot::server {
namespace {

SchedulerOptions with_memory(SchedulerOptions options, const Engine& engine) {
    if (options.memory == 0) options.memory = std::max(default_kv_memory(), Scheduler::least_memory(engine));
    return options;
}

Request urgent() {
    Request request;
    request.priority = Priority::interactive;
    return request;
}

// What somebody else wants done on the worker's thread. Nobody gives it up; whoever waits is told how it
// ended.
class Errand : public WorkerJob {
  public:
    explicit Errand(std::function<void()> work)
        : WorkerJob([](const Event&) {}, urgent(), {}), work_(std::move(work)) {}

    void begin() override { work_(); }
    void stop() override {}
    bool over() const override { return true; }
    std::future<void> done() { return work_.get_future(); }

  private:
    std::packaged_task<void()> work_;
};

class SchedulingService : public EngineService {
  public:
    SchedulingService(Engine& engine, EngineServiceOptions options)
        : shop_{engine, ToolMemory(options.memory, options.turns),
                Scheduler(engine, with_memory(options.scheduler, engine))},
          forms_(engine.model().tokenizer),
          on_pass_(std::move(options.on_pass)),
          late_disk_(std::move(options.late_disk)),
          queue_(options.queue),
          worker_(start_thread("the model", [this] { work(); })) {
        const auto& config = engine.model().config;
        info_.id = !options.model_id.empty() ? options.model_id
                   : !config.name.empty()    ? config.name
                                             : "deepseek-v4";
        info_.created = std::chrono::duration_cast<std::chrono::seconds>(
                            std::chrono::system_clock::now().time_since_epoch())
                            .count();
        info_.context = engine.context();
        info_.vocab_size = config.vocab_size;
        info_.sampling = options.sampling;
        info_.chat = options.chat;
        info_.chat.format = chat_format_of(engine.model().tokenizer, options.chat.format);
        info_.remove_client_noise = options.remove_client_noise;
        info_.draft = shop_.scheduler.drafts_from();
    }

    ~SchedulingService() override {
        queue_.quit();
        worker_.join();
    }

    const ModelInfo& info() const override { return info_; }
    bool ready() const override { return !queue_.draining(); }

    std::shared_ptr<Job> submit(Request request, Sink sink) override {
        check_model(shop_.engine);
        queue_.check_room();  // before the work of preparing
        auto prompt = prepare_prompt(request, tokenizer(), shop_.memory, info_.context);
        apply_tool_choice(request, prompt, tokenizer());
        apply_form(request, forms_);
        check(request, prompt);
        auto job = std::make_shared<EngineJob>(shop_, std::move(request), std::move(prompt), std::move(sink));
        queue_.push(job);
        return job;
    }

    std::int64_t count_tokens(const Request& request) const override {
        Request copy = request;
        return static_cast<std::int64_t>(prepare_prompt(copy, tokenizer(), shop_.memory).tokens.size());
    }

    std::string render(const Request& request) const override {
        Request copy = request;
        if (copy.raw) return tokenizer().decode(prepare_prompt(copy, tokenizer(), shop_.memory).tokens);
        complete_conversation(copy);
        shop_.memory.reattach(copy.tenant, copy.conversation);
        return encode_conversation(copy).text();
    }

    std::vector<std::int32_t> tokenize(std::string_view text, bool parse_special) const override {
        return tokenizer().encode(text, parse_special ? SpecialTokens::parse : SpecialTokens::literal);
    }

    std::string detokenize(std::span<const std::int32_t> tokens) const override {
        try {
            return tokenizer().decode(tokens);
        } catch (const Error& e) {
            throw ApiError(400, "invalid_request", fmt::format("tokens: {}", e.what()), "tokens");
        }
    }

    void between_passes(const std::function<void(Scheduler&)>& work) override {
        auto errand = std::make_shared<Errand>([this, &work] { work(shop_.scheduler); });
        auto done = errand->done();
        queue_.push(std::move(errand));
        try {
            done.get();
        } catch (const std::future_error&) {
            throw ApiError(503, "shutting_down", "the model is being closed");
        }
    }

    void drain(std::chrono::steady_clock::time_point deadline) override { queue_.drain(deadline); }

  private:
    const Tokenizer& tokenizer() const { return shop_.engine.model().tokenizer; }

    // One pass after another, each for all jobs that there are.
    void work() {
        std::vector<std::shared_ptr<QueuedJob>> jobs;
        while (true) {
            while (auto job = queue_.take(jobs.empty())) {
                jobs.push_back(job);
                guarded(*job, [](WorkerJob& j) { j.begin(); });
            }
            if (jobs.empty()) return;
            for (const auto& job : jobs)
                if (job->stopped()) guarded(*job, [](WorkerJob& j) { j.stop(); });
            try {
                step();
            } catch (...) {
                for (const auto& job : jobs) guarded(*job, [](WorkerJob&) { throw; });
            }
            std::erase_if(jobs, [&](const auto& job) {
                bool over = static_cast<WorkerJob&>(*job).over();
                if (over) queue_.over(job);
                return over;
            });
        }
    }

    void step() {
        if (DiskTier* disk = late_disk_ ? late_disk_() : nullptr) {
            shop_.scheduler.use(*disk);
            late_disk_ = nullptr;
        }
        for (const auto& event : shop_.scheduler.step()) {
            auto& job = EngineJob::of(event);
            if (event.kind == SequenceEvent::Kind::started) queue_.begun(job);
            guarded(job, [&](WorkerJob&) { job.see(event); });
        }
        const auto& scheduler = shop_.scheduler;
        if (scheduler.rows() > 0)
            shop_.engine.options().log.write(LogLevel::trace, "a pass of the model",
                                             {{"rows", scheduler.rows()},
                                              {"running", scheduler.running()},
                                              {"waiting", scheduler.waiting()},
                                              {"state_bytes", shop_.engine.kv_memory().bytes()}});
        if (on_pass_ && scheduler.rows() > 0)
            on_pass_({scheduler.rows(), scheduler.running_bytes(), shop_.engine.kv_memory().bytes(),
                      scheduler.memory(), scheduler.preemptions(), scheduler.prefixes().evictions(),
                      scheduler.drafts(), scheduler.hits_in_memory(), scheduler.hits_on_disk()});
    }

    // What the work for a job runs into ends that job only.
    template <class Work>
    static void guarded(QueuedJob& queued, const Work& work) {
        auto& job = static_cast<WorkerJob&>(queued);
        try {
            work(job);
        } catch (...) {
            job.fail(std::current_exception());
            job.stop();
        }
    }

    // Whatever a generation would refuse is refused now.
    void check(const Request& request, const PreparedPrompt& prompt) const {
        try {
            Generation(shop_.engine, prompt.tokens, request.generation);
        } catch (const ApiError&) {
            throw;
        } catch (const Error& e) {
            throw ApiError(400, "invalid_request", e.what(), blamed_field(e.what()));
        }
    }

    ModelInfo info_;
    mutable Workshop shop_;
    AnswerForms forms_;
    const std::function<void(const PassReport&)> on_pass_;
    std::function<DiskTier*()> late_disk_;  // empty once it has given what there is
    mutable JobQueue queue_;
    std::thread worker_;  // last: it uses the rest
};

}  // namespace

std::unique_ptr<EngineService> make_engine_service(Engine& engine, EngineServiceOptions options) {
    return std::make_unique<SchedulingService>(engine, std::move(options));
}

std::int64_t default_kv_memory() { return static_cast<std::int64_t>(memory_limit().total / 8); }

}  // namespace cachalot::server
