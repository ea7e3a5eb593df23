// cachalot serve: the HTTP server.
//
// Signals are taken by one thread that waits for them (they are blocked everywhere else), so there is no
// handler and nothing that a handler may not do. The first one drains: no new connections, running answers
// get --drain-timeout. A second one, or one that comes while the model is still being loaded, ends the
// program at once.
#include <sys/resource.h>
#ifdef __GLIBC__
#include <malloc.h>
#endif

#include <condition_variable>
#include <csignal>
#include <cstdlib>
#include <filesystem>
#include <mutex>
#include <optional>
#include <thread>

#include "base/background.h"
#include "base/error.h"
#include "cli/chat_options.h"
#include "cli/command.h"
#include "cli/option_value.h"
#include "cli/signals.h"
#include "file/user_folders.h"
#include "server/api/anthropic.h"
#include "server/api/openai.h"
#include "server/api/responses.h"
#include "server/http/audit.h"
#include "server/http/server.h"
#include "server/http/status.h"
#include "service/metered_service.h"
#include "service/metrics.h"
#include "service/open_service.h"
#include "service/script.h"
#include "service/scripted_service.h"

namespace cachalot::cli {
namespace {

using namespace server;

struct ServeOptions {
    ModelOptions model;
    HttpOptions http;
    std::string alias, scripted, audit_log, metrics_prefix = "cachalot_";
    std::vector<std::string> keys, key_files, origins;
    SchedulerOptions scheduler;
    std::size_t queue = 256, max_body_mib = 64, max_bodies_mib = 512;
    std::int64_t claude_context = 0, kv_disk = std::int64_t(32) << 30;
    std::string kv_dir = default_kv_folder().string();
    std::string think = "on";
    double drain_timeout = 30;
    bool log_text = false, metrics_llamacpp = false, keep_client_noise = false;
};

constexpr std::uint16_t kDefaultPort = 11440;  // beside the ports that other local servers use
constexpr std::size_t kLoggedText = 1 << 20;

// To be made before any other thread, which inherits that the signals are blocked.
class StopSignals {
  public:
    StopSignals() {
        set_ = waited_signals({SIGINT, SIGTERM, SIGHUP});
        pthread_sigmask(SIG_BLOCK, &set_, nullptr);
        std::signal(SIGPIPE, SIG_IGN);
        std::signal(SIGXFSZ, SIG_IGN);  // a log that may not grow any more is an error like a full disk
        start_thread("signals", [set = set_, state = state_] {
            while (true) {
                int signal = 0;
                if (sigwait(&set, &signal) != 0) continue;
                std::lock_guard lock(state->mutex);
                // Lines of the audit log that still wait for their thread (served_queue.h) are lost; nothing
                // else in memory would be missed.
                if (!state->expected || state->came) std::_Exit(128 + signal);
                state->came = true;
                state->changed.notify_all();
            }
        }).detach();
    }

    // From now on the first signal is one to wait() for; one before, or another one after it, ends the
    // program.
    void expect() {
        std::lock_guard lock(state_->mutex);
        state_->expected = true;
    }
    // Returns when it has come.
    void wait() {
        std::unique_lock lock(state_->mutex);
        state_->changed.wait(lock, [&] { return state_->came; });
    }

  private:
    struct State {
        std::mutex mutex;
        std::condition_variable changed;
        bool expected = false, came = false;
    };
    sigset_t set_;
    std::shared_ptr<State> state_ = std::make_shared<State>();
};

// Every connection takes a descriptor, and the usual limit of 1024 is kept low only for old programs' sake.
void allow_connections(std::size_t connections) {
    rlimit files{};
    const rlim_t wanted =
        connections + connections / 2 + 256;  // those turned away, too, and the model's files
    if (getrlimit(RLIMIT_NOFILE, &files) != 0 || files.rlim_cur >= wanted) return;
    files.rlim_cur = std::min(files.rlim_max, wanted);
    setrlimit(RLIMIT_NOFILE, &files);  // without it the listener waits for descriptors to become free
}

// Attention states come and go. Large pieces of them go back to the system at once, instead of leaving holes
// that nothing else fits in: with 120 MB of states nano's server took 18 MB less.
void return_memory_early() {
#ifdef __GLIBC__
    mallopt(M_MMAP_THRESHOLD, 128 << 10);
#endif
}

// What answers instead of a model, under the name that clients are to see; nothing without --scripted.
std::optional<Script> script_of(const ServeOptions& o) {
    if (o.scripted.empty()) return std::nullopt;
    Script script = Script::load(o.scripted);
    if (!o.alias.empty()) script.model = o.alias;
    return script;
}

std::string model_id(const ServeOptions& o, const std::optional<Script>& script) {
    if (script) return script->model;
    return o.alias.empty() ? model_name(o.model.resolved_path()) : o.alias;
}

void add_keys(const ServeOptions& o, ApiKeys& keys) {
    for (const auto& key : o.keys) keys.add(key);
    for (const auto& file : o.key_files) keys.add_file(file);
    if (const char* key = std::getenv("CACHALOT_API_KEY"); key && *key) keys.add(key);
}

void check_files(const ServeOptions& o) {
    CommandFiles files{{}, {o.scripted, o.http.tls_cert, o.http.tls_key}, {o.audit_log}};
    files.inputs.insert(files.inputs.end(), o.key_files.begin(), o.key_files.end());
    if (o.scripted.empty()) return o.model.check(files);
    files.outputs.push_back(o.model.log_options.file);
    files.check();
}

OpenServiceOptions service_options(const ServeOptions& o, const std::string& id, const Log& log,
                                   Metrics& metrics) {
    ModelOptions model = o.model;
    model.log = log;
    model.notes_in_log = true;
    OpenServiceOptions options;
    options.engine = model.to_open();
    options.disk.folder = o.kv_dir;
    options.disk.budget = o.kv_disk;
    options.service.model_id = id;
    options.service.chat = AnswerOptions().chat(o.think);
    options.service.queue.limit = o.queue;
    options.service.scheduler = o.scheduler;
    options.service.remove_client_noise = !o.keep_client_noise;
    options.service.on_pass = [&metrics](const PassReport& report) { metrics.pass(report); };
    return options;
}

// The model or the script, metered. `opened` is where the model's engine and what it keeps on disk live.
std::unique_ptr<Service> make_service(const ServeOptions& o, std::optional<Script> script,
                                      const std::string& id, const Log& log,
                                      std::unique_ptr<OpenedService>& opened, Metrics& metrics) {
    if (script) {
        QueueOptions queue;
        queue.limit = o.queue;
        return make_metered_service(make_scripted_service(std::move(*script), {queue, log}), metrics);
    }
    opened = open_service(service_options(o, id, log, metrics));
    metrics.show_experts([&opened] { return opened->engine.expert_stats(); });
    metrics.show_engram([&opened] { return opened->engine.engram_stats(); });
    metrics.show_disk([&opened] {
        const DiskTier* prefixes = opened->disk.prefixes();
        return prefixes ? std::optional(prefixes->stats()) : std::nullopt;
    });
    return make_metered_service(std::move(opened->service), metrics);
}

void serve(const ServeOptions& o) {
    StopSignals signals;
    return_memory_early();
    allow_connections(o.http.limits.connections);
    const auto lines = o.model.log_options.open();
    const Log log(lines);
    check_files(o);
    std::optional<Script> script = script_of(o);
    const std::string id = model_id(o, script);
    Metrics metrics(id, o.metrics_prefix, o.metrics_llamacpp);
    metrics.show_lost_lines(server::Metrics::Lines::log, [lines] { return lines->lost(); });
    std::unique_ptr<AuditLog> audit;
    if (!o.audit_log.empty()) {
        audit = std::make_unique<AuditLog>(o.audit_log, o.log_text,
                                           [log](std::string_view text) { log.warn(text); });
        metrics.show_lost_lines(server::Metrics::Lines::audit, [&audit] { return audit->lost(); });
    }

    HttpOptions http = o.http;
    http.limits.body = o.max_body_mib << 20;
    http.limits.bodies = o.max_bodies_mib << 20;
    for (const auto& origin : o.origins) http.cors.allow(origin);
    add_keys(o, http.keys);
    if (o.log_text) http.keep_text = kLoggedText;
    http.log = log;
    http.on_served = [&](const Served& served) {
        metrics.http_request(served.method, served.route, served.status, served.seconds);
        if (audit) audit->write(served);
    };

    std::atomic<bool> ready{false};
    // Endpoints use the service, the service the engine and the disk: each outlives what uses it.
    std::unique_ptr<OpenedService> opened;
    std::unique_ptr<Service> service;
    StatusOptions status{CACHALOT_VERSION, [&] { return ready.load(); }, &metrics};
    status.problem = [&] { return ready && opened ? opened->engine.problem() : std::string(); };
    auto routes = status_routes(status);
    auto with = [&](std::vector<Route> more) {
        more.insert(more.begin(), routes.begin(), routes.end());
        return more;
    };
    HttpServer server(std::move(http), with(loading_routes()));
    server.start();  // before the model is loaded: /health and /ready answer meanwhile
    if (const int missing = server.missing_threads(); missing > 0)
        log.warn(
            fmt::format("{} threads of the server could not be started; it goes on with fewer", missing));

    service = make_service(o, std::move(script), id, log, opened, metrics);
    for (auto& more :
         {openai_routes(*service), anthropic_routes(*service, o.claude_context), responses_routes(*service)})
        routes.insert(routes.end(), more.begin(), more.end());
    signals.expect();  // before there are answers that could be cut off
    server.set_routes(routes);
    ready = true;
    log.info(fmt::format("serving {} at {}", id, server.url()));

    signals.wait();
    auto deadline = std::chrono::steady_clock::now() +
                    std::chrono::milliseconds(static_cast<std::int64_t>(o.drain_timeout * 1000));
    ready = false;
    log.info(fmt::format("stopping; running answers have {} s", o.drain_timeout));
    std::thread drain = start_thread("stopping", [&] { service->drain(deadline); });
    server.stop(deadline);
    drain.join();
}

}  // namespace

void add_serve(CLI::App& app) {
    auto o = std::make_shared<ServeOptions>();
    o->http.port = kDefaultPort;
    o->scheduler.beside = 0;
    auto* command = app.add_subcommand("serve", "Answers HTTP clients of OpenAI's and Anthropic's APIs");
    o->model.expert_heat = "auto";
    o->model.add_to(*command);
    o->model.add_decoder_prefill_to(*command);
    command->add_option("--alias", o->alias, "the model's name for clients")->type_name("NAME");
    auto* scripted = command
                         ->add_option("--scripted", o->scripted,
                                      "answer from a script instead of a model (for testing clients)")
                         ->type_name("FILE");
    command
        ->add_option("--think", o->think,
                     fmt::format("reason before answering where a request does not say: {}. "
                                 "As in DeepSeek's own API it is on, while run and chat start with it off. "
                                 "Requests to /v1/messages get reasoning only if they ask for it",
                                 kThinkModes))
        ->check(checked_by(check_think))
        ->excludes(scripted)
        ->capture_default_str();
    command
        ->add_option(
            "--claude-context", o->claude_context,
            "tell clients of /v1/messages numbers of tokens as if the context were this long. "
            "Claude Code assumes 200000 unless told otherwise, and compacts in time only if that is so")
        ->check(CLI::Range(std::int64_t(1), std::int64_t(1) << 30))
        ->type_name("TOKENS");
    command->add_flag("--keep-client-noise", o->keep_client_noise,
                      "leave the lines in system texts that known clients change in every request, "
                      "so that nothing after them can be reused");
    command->add_option("--parallel", o->scheduler.parallel, "most answers that are written at the same time")
        ->check(CLI::Range(1, 1024))
        ->capture_default_str()
        ->type_name("N");
    o->model.add_draft_to(*command);
    command
        ->add_option("--kv-memory", o->scheduler.memory,
                     "memory for the attention states of running requests and for prefixes of earlier ones, "
                     "which need not be read again; as 8GB or 8GiB. "
                     "Default: an eighth of the machine's, or what one whole context takes")
        ->transform(as_bytes())
        ->type_name("SIZE");
    command
        ->add_option(
            "--kv-dir", o->kv_dir,
            "folder for prefixes that are kept on disk, where they survive the server; \"off\": none are. "
            "They hold what was said; only their owner can read them")
        ->capture_default_str()
        ->type_name("DIR");
    command->add_option("--kv-disk", o->kv_disk, "most space for prefixes on disk; as 8GB or 8GiB")
        ->transform(as_bytes())
        ->default_str("32GiB")
        ->type_name("SIZE");
    command
        ->add_option("--prefill-beside", o->scheduler.beside,
                     "tokens of prompts that are read in a pass while answers are being written: "
                     "more of them read faster, fewer let answers flow. "
                     "0: 128, or with a cache of experts as many as otherwise")
        ->check(CLI::Range(0, 65536))
        ->capture_default_str()
        ->type_name("N");
    command->add_option("--queue", o->queue, "most requests that wait, at least 1; more are answered 429")
        ->check(CLI::Range(std::size_t(1), std::size_t(100'000)))
        ->capture_default_str()
        ->type_name("N");

    command->add_option("--host", o->http.host, "address to listen on")
        ->capture_default_str()
        ->type_name("ADDRESS");
    command->add_option("--port", o->http.port, "port to listen on; 0: any free one")
        ->check(CLI::Range(0, 65535))
        ->capture_default_str()
        ->type_name("N");
    command
        ->add_option("--api-key", o->keys,
                     "require this key: KEY or NAME=KEY; may be repeated. "
                     "Visible to other users of this machine: better --api-key-file or $CACHALOT_API_KEY")
        ->type_name("KEY");
    command
        ->add_option("--api-key-file", o->key_files, "keys, one a line: KEY or NAME=KEY; # begins a comment")
        ->type_name("FILE");
    command->add_flag("--insecure", o->http.insecure, "may listen beyond this machine without a key");
    command
        ->add_option("--allowed-hosts", o->http.allowed_hosts,
                     "names that clients may call this server, beside localhost and --host; *: any")
        ->delimiter(',')
        ->type_name("NAME,..");
    command
        ->add_option("--cors", o->origins,
                     "origins whose web pages may use this server, as https://chat.example; *: any")
        ->delimiter(',')
        ->check(checked_by([](const std::string& origin) { Cors().allow(origin); }))
        ->type_name("ORIGIN,..");
    auto* certificate =
        command->add_option("--tls-cert", o->http.tls_cert, "certificate chain, PEM")->type_name("FILE");
    auto* key = command->add_option("--tls-key", o->http.tls_key, "its private key, PEM")->type_name("FILE");
    certificate->needs(key);
    key->needs(certificate);

    command
        ->add_option("--max-connections", o->http.limits.connections,
                     "most connections at the same time; more are answered 503")
        ->check(CLI::Range(std::size_t(1), std::size_t(1'000'000)))
        ->capture_default_str()
        ->type_name("N");
    command->add_option("--max-body", o->max_body_mib, "largest request, in MiB")
        ->check(CLI::Range(std::size_t(1), std::size_t(4096)))
        ->capture_default_str()
        ->type_name("MIB");
    command
        ->add_option("--max-bodies", o->max_bodies_mib,
                     "most memory for the bodies of unanswered requests, in MiB; more are answered 503")
        ->check(CLI::Range(std::size_t(1), std::size_t(1'000'000)))
        ->capture_default_str()
        ->type_name("MIB");
    command->add_option("--io-threads", o->http.threads, "threads for the network")
        ->check(CLI::Range(1, 64))
        ->capture_default_str()
        ->type_name("N");
    command
        ->add_option("--drain-timeout", o->drain_timeout,
                     "seconds that running answers get when the server is told to stop")
        ->check(CLI::Range(0.0, 86400.0))
        ->capture_default_str()
        ->type_name("S");
    auto* audit = command->add_option("--audit-log", o->audit_log, "append one JSON line per request")
                      ->type_name("FILE");
    command->add_flag("--log-text", o->log_text, "with --audit-log: the texts, too")->needs(audit);
    o->model.log_options.level = "info";
    o->model.log_options.add_to(*command);
    command
        ->add_option("--metrics-prefix", o->metrics_prefix,
                     "prefix of the names at /metrics; \"vllm:\" suits vLLM's dashboards")
        ->check(checked_by([](const std::string& prefix) { Metrics("", prefix, false); }))
        ->capture_default_str()
        ->type_name("TEXT");
    command->add_flag("--metrics-llamacpp", o->metrics_llamacpp,
                      "at /metrics also under llama.cpp's names, for its dashboards");
    command->callback([o] { serve(*o); });
}

}  // namespace cachalot::cli
