#include <cstdlib>

#include "capi/engine.h"
#include "capi/sized.h"
#include "experts/engram_budget.h"
#include "experts/expert_budget.h"
#include "file/log_writer.h"
#include "text/prompt_protocol.h"

namespace cachalot::capi {
namespace {

constexpr std::size_t kFirstOptions = CACHALOT_SIZE_UP_TO(cachalot_options, on_note_user);
constexpr std::size_t kFirstFacts = CACHALOT_SIZE_UP_TO(cachalot_facts, reserved);

cachalot_options default_options() {
    cachalot_options o{};
    o.parallel = SchedulerOptions().parallel;
    o.queue = 256;
    o.draft = CACHALOT_DRAFT_AUTO;
    o.kv_disk = server::ServiceDiskOptions().budget;
    return o;
}

// Notes come from the thread that opens, lines of the log from any; the user gets one at a time.
NoteSink note_sink(const cachalot_options& o) {
    if (!o.on_note) return {};
    return [callback = o.on_note, user = o.on_note_user,
            mutex = std::make_shared<std::mutex>()](const std::string& note) {
        std::lock_guard lock(*mutex);
        CallbackScope scope;
        callback(note.c_str(), user);
    };
}

Log note_log(const NoteSink& note) {
    if (!note) return {};
    const LogOutput output{LogLevel::info, LogFormat::plain, "", note};
    return Log(std::make_shared<LogWriter>(std::vector{output}));
}

const char* draft_mode(std::int32_t draft) {
    switch (draft) {
        case CACHALOT_DRAFT_OFF: return "off";
        case CACHALOT_DRAFT_LOOKUP: return "lookup";
        case CACHALOT_DRAFT_AUTO: return "auto";
        case CACHALOT_DRAFT_DSPARK: return "dspark";
        case CACHALOT_DRAFT_MTP: return "mtp";
    }
    invalid("options.draft: {} is no CACHALOT_DRAFT_...", draft);
}

KvPrecision kv_precision(std::int32_t kv) {
    if (kv != CACHALOT_KV_FP8 && kv != CACHALOT_KV_F32) invalid("options.kv: {} is no CACHALOT_KV_...", kv);
    return kv == CACHALOT_KV_F32 ? KvPrecision::f32 : KvPrecision::reference;
}

// Of a member that is not NULL, and names a file or a folder.
std::string path_text(const char* text, const char* name) {
    if (!*text) invalid("{} is empty; leave it NULL, or name something", name);
    return text;
}

void at_least(std::int64_t value, std::int64_t least, const char* name) {
    if (value < least) invalid("{}: {} is less than {}", name, value, least);
}

void in_range(std::int64_t value, std::int64_t least, std::int64_t most, const char* name) {
    if (value < least || value > most) invalid("{}: {} is out of range ({} to {})", name, value, least, most);
}

std::string expert_cache(const std::string& text) {
    constexpr const char* kName = "options.expert_cache";
    if (text == "off" || text == "auto") return text;
    try {
        (void)ExpertBudget(text, kName);
        return text;
    } catch (const Error& e) {
        throw CapiError(CACHALOT_INVALID, e.what());
    }
}

std::string engram_cache(const std::string& text) {
    if (text == "auto") return text;
    try {
        (void)engram_budget(text, 0, "options.engram_cache");
        return text;
    } catch (const Error& e) {
        throw CapiError(CACHALOT_INVALID, e.what());
    }
}

std::string decoder_prefill(const std::string& text) {
    try {
        check_decoder_prefill(text);
        return text;
    } catch (const Error& e) {
        throw CapiError(CACHALOT_INVALID, fmt::format("options.decoder_prefill: {}", e.what()));
    }
}

OpenEngineOptions engine_options(const char* path, const cachalot_options& o) {
    OpenEngineOptions engine;
    engine.path = path;
    if (o.reserved != 0) invalid("options.reserved is {}, not 0", o.reserved);
    in_range(o.threads, 0, 1024, "options.threads");
    engine.threads = o.threads;
    engine.precision = flag(o.exact, "options.exact") ? Precision::exact : Precision::fast;
    at_least(o.context, 0, "options.context");
    engine.context = o.context;
    in_range(o.chunk, 0, 65536, "options.chunk");
    engine.chunk = o.chunk;
    engine.kv = kv_precision(o.kv);
    if (o.expert_cache) engine.expert_cache = expert_cache(o.expert_cache);
    if (o.expert_heat) engine.expert_heat = path_text(o.expert_heat, "options.expert_heat");
    engine.expert_packs = strings(o.expert_packs, o.expert_pack_count, "options.expert_packs");
    engine.decoder_prefill = o.decoder_prefill ? decoder_prefill(o.decoder_prefill) : "auto";
    if (o.engram_cache) engine.engram_cache = engram_cache(o.engram_cache);
    if (o.engram) engine.engram = path_text(o.engram, "options.engram");
    engine.draft = draft_mode(o.draft);
    engine.note = note_sink(o);
    engine.log = note_log(engine.note);
    return engine;
}

server::OpenServiceOptions service_options(const char* path, const cachalot_options& o) {
    server::OpenServiceOptions options;
    options.engine = engine_options(path, o);
    at_least(o.kv_memory, 0, "options.kv_memory");
    in_range(o.parallel, 1, 1024, "options.parallel");
    at_least(o.queue, 1, "options.queue");
    at_least(o.kv_disk, 0, "options.kv_disk");
    if (o.kv_dir) options.disk.folder = path_text(o.kv_dir, "options.kv_dir");
    options.disk.budget = o.kv_disk;
    options.service.queue.limit = static_cast<std::size_t>(o.queue);
    options.service.scheduler.parallel = o.parallel;
    options.service.scheduler.beside = 0;
    options.service.scheduler.memory = o.kv_memory;
    return options;
}

}  // namespace
}  // namespace cachalot::capi

using namespace cachalot::capi;

int32_t cachalot_api_version(void) { return CACHALOT_API_VERSION; }

const char* cachalot_version(void) { return CACHALOT_VERSION; }

void cachalot_free(void* data) { std::free(data); }

void cachalot_options_init(cachalot_options* options, size_t size) {
    init_sized(options, size, default_options());
}

cachalot_status cachalot_open(const char* path, const cachalot_options* options, cachalot_engine** engine,
                              cachalot_error* error) {
    if (engine) *engine = nullptr;
    return guarded(error, [&] {
        need(engine, "engine");
        need(path, "path");
        if (!*path) invalid("path is empty");
        const auto defaults = default_options();
        const auto read = options ? read_sized(options, defaults, kFirstOptions, "options") : defaults;
        auto opened = std::make_unique<cachalot_engine>();
        opened->opened = cachalot::server::open_service(service_options(path, read));
        opened->name = opened->opened->service->info().id;
        opened->kernels = opened->opened->engine.kernels();
        *engine = opened.release();
    });
}

cachalot_status cachalot_close(cachalot_engine* engine) {
    return guarded(nullptr, [&] {
        CallbackScope::refuse("cachalot_close");
        if (engine) *engine->closing = true;
        delete engine;
    });
}

cachalot_status cachalot_model_facts(const cachalot_engine* engine, cachalot_facts* facts,
                                     cachalot_error* error) {
    return guarded(error, [&] {
        need(engine, "engine");
        need(facts, "facts");
        const auto& opened = engine->opened->engine;
        const auto& config = opened.model().config;
        const auto& tokenizer = engine->tokenizer();
        cachalot_facts known{};
        known.name = engine->name.c_str();
        known.kernels = engine->kernels.c_str();
        known.context = opened.context();
        known.trained_context = config.context_length;
        known.vocab_size = config.vocab_size;
        known.layers = config.layers;
        known.threads = opened.primitives().threads();
        known.bos = tokenizer.bos();
        known.eos = tokenizer.eos();
        known.think_begin = tokenizer.find(cachalot::kThinkStart).value_or(-1);
        known.think_end = tokenizer.find(cachalot::kThinkEnd).value_or(-1);
        write_sized(facts, known, kFirstFacts, "facts");
    });
}
