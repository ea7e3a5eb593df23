#include "engine/state_fingerprint.h"

#include <fmt/format.h>

#include "model/content_fingerprint.h"

namespace cachalot {
namespace {

constexpr int kFormat = 2;  // one more whenever states are computed or laid out differently

}  // namespace

ChainKey state_fingerprint(const Engine& engine, const Hash128& model) {
    const auto& o = engine.options();
    auto text = fmt::format("states {};activations {};rows {};kernels {};model {}", kFormat,
                            o.precision == Precision::exact ? "exact" : "fast",
                            o.kv == KvPrecision::f32 ? "f32" : "reference", engine.kernels(),
                            hex(model));
    if (o.layers && *o.layers != all_layers(engine.model().config))
        text += fmt::format(";layers {} to {}", o.layers->first, o.layers->last);
    if (o.decoder_prefill) text += fmt::format(";decoder prefill {}", o.decoder_prefill);
    return hash128(std::as_bytes(std::span(text)));
}

ChainKey state_fingerprint(const Engine& engine) {
    return state_fingerprint(engine, *content_fingerprint(engine.model()));
}

}  // namespace cachalot
