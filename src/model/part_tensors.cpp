#include "model/part_tensors.h"

#include <fmt/format.h>

#include <string>

#include "base/error.h"

namespace cachalot {
namespace {

using Kind = TensorSpec::Kind;

// The first of each part.
constexpr const char* kModel = "token_embd.weight";
constexpr const char* kDspark = "dspark.fc.weight";
constexpr const char* kMtp = "mtp.e_proj.weight";
constexpr const char* kVision = "v.patch_embd.weight";

class VisionTable {
  public:
    explicit VisionTable(const Config& config) : v_(config.vision), hidden_(config.hidden_size) {}

    std::vector<TensorSpec> build() {
        const std::int64_t h = v_.hidden_size, patch = std::int64_t{v_.patch_size} * v_.patch_size;
        linear("v.patch_embd", "vision.patch_embed.proj", h, 3 * patch);
        for (int b = 0; b < v_.layers; ++b)
            block(fmt::format("v.blk.{}.", b), fmt::format("vision.blocks.{}.", b));
        vector("v.post_ln.weight", "vision.norm.weight", h);
        linear("mm.1", "aligner.w1", hidden_, h * v_.downsample * v_.downsample);
        linear("mm.2", "aligner.w2", hidden_, hidden_);
        for (const char* name : {"image_start", "image_end", "image_newline"})
            vector(std::string("v.") + name, name, hidden_);
        return std::move(table_);
    }

  private:
    void block(const std::string& gguf, const std::string& release) {
        const std::int64_t h = v_.hidden_size, inner = v_.inner_size;
        vector(gguf + "ln1.weight", release + "norm1.weight", h);
        linear(gguf + "attn_qkv", release + "attn.wqkv", 3 * h, h);
        linear(gguf + "attn_out", release + "attn.wo", h, h);
        vector(gguf + "ln2.weight", release + "norm2.weight", h);
        matrix(gguf + "ffn_gate_up.weight", release + "mlp.w1.weight", 2 * inner, h);
        matrix(gguf + "ffn_down.weight", release + "mlp.w2.weight", h, inner);
    }

    // A matrix with a bias.
    void linear(const std::string& gguf, const std::string& release, std::int64_t rows,
                std::int64_t columns) {
        matrix(gguf + ".weight", release + ".weight", rows, columns);
        vector(gguf + ".bias", release + ".bias", rows);
    }
    void matrix(const std::string& gguf, const std::string& release, std::int64_t rows,
                std::int64_t columns) {
        add(Kind::plain, gguf, release, rows, columns);
    }
    void vector(const std::string& gguf, const std::string& release, std::int64_t size) {
        add(Kind::floats, gguf, release, 1, size);
    }
    void add(Kind kind, const std::string& gguf, const std::string& release, std::int64_t rows,
             std::int64_t columns) {
        table_.push_back({kind, TensorSpec::Role::sensitive, gguf, release, rows, columns, 0, {}});
    }

    const VisionConfig& v_;
    std::int64_t hidden_;  // of the text model
    std::vector<TensorSpec> table_;
};

}  // namespace

std::vector<TensorSpec> vision_tensors(const Config& config) {
    if (!config.vision.present()) return {};
    return VisionTable(config).build();
}

bool has_drafter(const Checkpoint& c) {
    const DrafterKind kind = c.config().drafter();
    return kind != DrafterKind::none && c.has(kind == DrafterKind::dspark ? kDspark : kMtp);
}
bool has_vision(const Checkpoint& c) { return c.config().vision.present() && c.has(kVision); }
bool is_drafter_only(const Checkpoint& c) { return has_drafter(c) && !c.has(kModel); }
void check_more_than_drafter(const Checkpoint& c) {
    if (is_drafter_only(c))
        fail("{}: is a drafter without its model; give the model with -m, and this with --draft-model",
             c.source());
}

Matrix stored_matrix(const Checkpoint& checkpoint, const TensorSpec& s, int expert) {
    switch (s.kind) {
        case Kind::experts: return checkpoint.expert(s.gguf, expert, s.experts, s.rows, s.columns);
        case Kind::plain: return checkpoint.plain(s.gguf, s.rows, s.columns);
        default: return checkpoint.matrix(s.gguf, s.rows, s.columns);
    }
}

}  // namespace cachalot
