#include "model/config_gguf_parts.h"

#include "base/checked.h"
#include "file/gguf_writer.h"

namespace cachalot {
namespace {

void read_dspark(const GgufFields& fields, const Config& c, DsparkConfig& d) {
    if (!fields.has("dspark.stage_count")) return;
    d.stages = fields.number<int>("dspark.stage_count", 0, kMaxLayers);
    if (!d.present()) return;
    d.block_size = fields.number<int>("dspark.block_size", 1, 1024);
    d.noise_token = fields.number<std::int32_t>("dspark.noise_token_id", 0, c.vocab_size - 1);
    d.target_layers = fields.get<std::vector<std::int32_t>>("dspark.target_layers");
    for (const int layer : d.target_layers)
        if (layer < 0 || layer >= c.layers)
            fail("{}: key '{}' names layer {} of {}", fields.source(), fields.key("dspark.target_layers"),
                 layer, c.layers);
    d.markov_rank = fields.number<int>("dspark.markov_rank", 1, 1 << 16);
    d.experts = fields.number<int>("dspark.expert_count", 1, 4096);
    d.experts_per_token = fields.number<int>("dspark.expert_used_count", 1, d.experts);
}

void read_vision(const GgufFields& fields, const Config& c, VisionConfig& v) {
    if (!fields.has("vision.block_count")) return;
    v.layers = fields.number<int>("vision.block_count", 0, kMaxLayers);
    if (!v.present()) return;
    v.hidden_size = fields.number<int>("vision.embedding_length", 1, 1 << 16);
    v.heads = fields.number<int>("vision.attention.head_count", 1, v.hidden_size);
    v.inner_size = fields.number<int>("vision.feed_forward_length", 1, 1 << 18);
    v.patch_size = fields.number<int>("vision.patch_size", 1, 1024);
    v.downsample = fields.number<int>("vision.downsample_ratio", 1, 64);
    v.max_tokens = fields.number<int>("vision.max_tokens", 1, 1 << 20);
    v.min_pixels = fields.number<std::int64_t>("vision.min_pixels", 0, 1 << 30);
    v.max_aspect = fields.get<float>("vision.max_aspect_ratio");
    v.rope_theta = fields.get<float>("vision.rope.freq_base");
    v.token = fields.number<std::int32_t>("vision.token_id", 0, c.vocab_size - 1);
}

}  // namespace

void read_parts(const GgufFields& fields, Config& c) {
    read_dspark(fields, c, c.dspark);
    c.mtp = fields.has("mtp.block_count") && fields.number<int>("mtp.block_count", 0, 1) == 1;
    read_vision(fields, c, c.vision);
}

void write_drafter(const Config& c, const std::string& prefix, GgufWriter& writer) {
    const auto size = [&](const std::string& name, std::int64_t value) {
        writer.set<std::uint32_t>(prefix + name, checked_cast<std::uint32_t>(value, name));
    };
    if (const DsparkConfig& d = c.dspark; d.present()) {
        size("dspark.stage_count", d.stages);
        size("dspark.block_size", d.block_size);
        size("dspark.noise_token_id", d.noise_token);
        writer.set_array<std::int32_t>(prefix + "dspark.target_layers", d.target_layers);
        size("dspark.markov_rank", d.markov_rank);
        size("dspark.expert_count", d.experts);
        size("dspark.expert_used_count", d.experts_per_token);
    }
    if (c.mtp) size("mtp.block_count", 1);
}

void remove_drafter(const std::string& prefix, GgufWriter& writer) {
    for (const char* kind : {"dspark.", "mtp."}) writer.remove_all(prefix + kind);
}

void write_parts(const Config& c, const std::string& prefix, GgufWriter& writer) {
    const auto size = [&](const std::string& name, std::int64_t value) {
        writer.set<std::uint32_t>(prefix + name, checked_cast<std::uint32_t>(value, name));
    };
    write_drafter(c, prefix, writer);
    if (const VisionConfig& v = c.vision; v.present()) {
        size("vision.block_count", v.layers);
        size("vision.embedding_length", v.hidden_size);
        size("vision.attention.head_count", v.heads);
        size("vision.feed_forward_length", v.inner_size);
        size("vision.patch_size", v.patch_size);
        size("vision.downsample_ratio", v.downsample);
        size("vision.max_tokens", v.max_tokens);
        size("vision.min_pixels", v.min_pixels);
        writer.set<float>(prefix + "vision.max_aspect_ratio", v.max_aspect);
        writer.set<float>(prefix + "vision.rope.freq_base", v.rope_theta);
        size("vision.token_id", v.token);
    }
}

}  // namespace cachalot
