#include "capi/engine.h"
#include "capi/output.h"
#include "engine/state_fingerprint.h"
#include "file/output_file.h"
#include "file/text_file.h"
#include "file/user_folders.h"
#include "model/content_fingerprint.h"
#include "prefix/state_record.h"

namespace cachalot::capi {
namespace {

// Reads the whole model at the first time.
const ChainKey& fingerprint(cachalot_engine& engine) {
    std::lock_guard lock(engine.fingerprint_mutex);
    if (!engine.fingerprint) {
        auto& opened = engine.opened->engine;
        const auto model = content_fingerprint(opened.model(), {KeptHashes(default_hash_folder())});
        engine.fingerprint = state_fingerprint(opened, *model);
    }
    return *engine.fingerprint;
}

struct SavedState {
    Block block;
    std::size_t size = 0;
    std::int64_t length = 0;  // tokens

    std::span<const std::byte> bytes() const { return {block.get(), size}; }
};

// Answers go on while a state is written or read here: what is kept does not change. They stop only while it
// is looked for, or put among the others.

SavedState save(cachalot_engine& engine, std::span<const std::int32_t> tokens, const char* space) {
    const auto& key = fingerprint(engine);
    std::shared_ptr<const KvCheckpoint> state;
    engine.opened->service->between_passes(
        [&](Scheduler& scheduler) { state = scheduler.prefixes().find(space ? space : "", tokens).state; });
    if (!state) throw CapiError(CACHALOT_NOT_FOUND, "no state is kept of a beginning of these tokens");
    const KvCodec codec(engine.opened->engine.kv_pool());
    SavedState saved;
    saved.length = state->length;
    saved.size = record_bytes(codec, saved.length);
    saved.block = new_block(saved.size);
    write_state(codec, key, tokens.first(static_cast<std::size_t>(saved.length)), *state,
                {saved.block.get(), saved.size});
    return saved;
}

StateRecord checked_record(cachalot_engine& engine, const KvCodec& codec, std::span<const std::byte> bytes) {
    const auto& key = fingerprint(engine);
    try {
        StateRecord record(codec, key, bytes);
        for (const auto token : record.tokens())
            if (token < 0 || token >= engine.opened->engine.model().config.vocab_size)
                fail("the attention state has token {}, which is not in the vocabulary", token);
        return record;
    } catch (const Error& e) {
        throw CapiError(CACHALOT_MISMATCH, e.what());
    }
}

std::int64_t load(cachalot_engine& engine, std::span<const std::byte> bytes, const char* space) {
    const auto& opened = engine.opened->engine;
    const KvCodec codec(opened.kv_pool());
    const auto record = checked_record(engine, codec, bytes);
    const auto length = static_cast<std::int64_t>(record.tokens().size());
    if (length > opened.context())
        throw CapiError(
            CACHALOT_TOO_LONG,
            fmt::format("the attention state is of {} tokens, the context is {}", length, opened.context()));
    auto state = record.state(codec);
    engine.opened->service->between_passes([&](Scheduler& scheduler) {
        if (!scheduler.adopt(space ? space : "", record.tokens(), std::move(state)))
            throw CapiError(CACHALOT_NO_MEMORY,
                            "options.kv_memory has no room for the attention state beside what is running");
    });
    return length;
}

}  // namespace
}  // namespace cachalot::capi

using namespace cachalot::capi;

cachalot_status cachalot_state_save(cachalot_engine* engine, const int32_t* tokens, size_t count,
                                    const char* space, cachalot_bytes* bytes, int64_t* length,
                                    cachalot_error* error) {
    if (bytes) *bytes = {};
    if (length) *length = 0;
    return guarded(error, [&] {
        need(engine, "engine");
        need(bytes, "bytes");
        if (count > 0) need(tokens, "tokens");
        CallbackScope::refuse("cachalot_state_save");
        auto state = save(*engine, {tokens, count}, space);
        *bytes = {state.block.release(), state.size};
        if (length) *length = state.length;
    });
}

cachalot_status cachalot_state_save_file(cachalot_engine* engine, const int32_t* tokens, size_t count,
                                         const char* space, const char* path, int64_t* length,
                                         cachalot_error* error) {
    if (length) *length = 0;
    return guarded(error, [&] {
        need(engine, "engine");
        need(path, "path");
        if (count > 0) need(tokens, "tokens");
        CallbackScope::refuse("cachalot_state_save_file");
        const auto state = save(*engine, {tokens, count}, space);
        cachalot::OutputFile file(path);
        file.write(state.bytes());
        file.commit();
        if (length) *length = state.length;
    });
}

cachalot_status cachalot_state_load(cachalot_engine* engine, const void* bytes, size_t size,
                                    const char* space, int64_t* length, cachalot_error* error) {
    if (length) *length = 0;
    return guarded(error, [&] {
        need(engine, "engine");
        if (size > 0) need(bytes, "bytes");
        CallbackScope::refuse("cachalot_state_load");
        const auto found = load(*engine, {static_cast<const std::byte*>(bytes), size}, space);
        if (length) *length = found;
    });
}

cachalot_status cachalot_state_load_file(cachalot_engine* engine, const char* path, const char* space,
                                         int64_t* length, cachalot_error* error) {
    if (length) *length = 0;
    return guarded(error, [&] {
        need(engine, "engine");
        need(path, "path");
        CallbackScope::refuse("cachalot_state_load_file");
        const auto bytes = cachalot::read_text_file(path, std::uintmax_t(1) << 40);
        const auto found = load(*engine, std::as_bytes(std::span(bytes)), space);
        if (length) *length = found;
    });
}
