// A tiny model with random weights in the layout of DeepSeek's releases: FP8 matrices with block scales, FP4
// experts, I64 hash tables, spread over two shards with an index. Small enough to be written, damaged and
// loaded many times.
#pragma once

#include <fmt/format.h>

#include <cstdint>
#include <filesystem>
#include <fstream>
#include <map>
#include <nlohmann/json.hpp>
#include <random>
#include <string>
#include <vector>

#include "model/config.h"
#include "model/part_tensors.h"
#include "tensor/float_formats.h"

namespace cachalot::test {

inline nlohmann::json tiny_config() {
    return {{"architectures", {"DeepseekV4ForCausalLM"}},
            {"model_type", "deepseek_v4"},
            {"vocab_size", 8192},
            {"hidden_size", 64},
            {"num_hidden_layers", 4},
            {"num_attention_heads", 4},
            {"num_key_value_heads", 1},
            {"head_dim", 128},
            {"qk_rope_head_dim", 64},
            {"q_lora_rank", 64},
            {"o_groups", 2},
            {"o_lora_rank", 128},
            {"n_routed_experts", 4},
            {"num_experts_per_tok", 2},
            {"n_shared_experts", 1},
            {"moe_intermediate_size", 96},
            {"scoring_func", "sqrtsoftplus"},
            {"topk_method", "noaux_tc"},
            {"norm_topk_prob", true},
            {"routed_scaling_factor", 1.5},
            {"swiglu_limit", 10.0},
            {"num_hash_layers", 1},
            {"sliding_window", 128},
            {"compress_ratios", {0, 4, 128, 4}},
            {"compress_rope_theta", 160000},
            {"rope_theta", 10000},
            {"rope_scaling",
             {{"type", "yarn"},
              {"factor", 16},
              {"original_max_position_embeddings", 4096},
              {"beta_fast", 32},
              {"beta_slow", 1}}},
            {"index_n_heads", 2},
            {"index_head_dim", 128},
            {"index_topk", 4},
            {"hc_mult", 4},
            {"hc_sinkhorn_iters", 20},
            {"hc_eps", 1e-6},
            {"rms_norm_eps", 1e-6},
            {"max_position_embeddings", 65536},
            {"bos_token_id", 0},
            {"eos_token_id", 1},
            {"tie_word_embeddings", false},
            {"expert_dtype", "fp4"},
            {"quantization_config",
             {{"quant_method", "fp8"},
              {"fmt", "e4m3"},
              {"scale_fmt", "ue8m0"},
              {"weight_block_size", {128, 128}}}}};
}

// A folder under the system's temporary one that disappears with the object.
class TemporaryFolder {
  public:
    TemporaryFolder() {
        std::string name = (std::filesystem::temp_directory_path() / "cachalot-test-XXXXXX").string();
        if (!mkdtemp(name.data())) throw std::runtime_error("mkdtemp");
        path_ = name;
    }
    ~TemporaryFolder() {
        std::error_code ignored;
        std::filesystem::remove_all(path_, ignored);
    }
    TemporaryFolder(const TemporaryFolder&) = delete;
    TemporaryFolder& operator=(const TemporaryFolder&) = delete;
    const std::filesystem::path& path() const { return path_; }

  private:
    std::filesystem::path path_;
};

class TinyRelease {
  public:
    explicit TinyRelease(std::filesystem::path folder, const nlohmann::json& text = tiny_config())
        : folder_(std::move(folder)), engine_(42) {
        std::ofstream(folder_ / "config.json") << text;
        std::filesystem::copy_file(std::string(CACHALOT_TEST_DATA) + "/tokenizer/nano.json",
                                   folder_ / "tokenizer.json");
        const Config config = config_from_json(text.dump(), "tiny");
        block_ = config.fp8_block;
        for (const auto& table : {model_tensors(config), drafter_tensors(config), vision_tensors(config)})
            for (const auto& spec : table) add(spec);
        if (config.drafter() == DrafterKind::none)
            add_bytes("mtp.0.norm.weight", "BF16", {64}, std::string(128, '\0'));  // to be ignored
        write();
    }

  private:
    struct Stored {
        std::string type;
        std::vector<std::int64_t> shape;
        std::string bytes;
    };

    float normal(float scale) { return std::normal_distribution<float>(0, scale)(engine_); }

    void add_bytes(const std::string& name, const std::string& type, std::vector<std::int64_t> shape,
                   std::string bytes) {
        tensors_[name] = {type, std::move(shape), std::move(bytes)};
    }

    std::string bf16(std::int64_t n, float scale, float mean = 0) {
        std::string bytes;
        for (std::int64_t i = 0; i < n; ++i) {
            auto h = f32_to_bf16(mean + normal(scale));
            bytes.append(reinterpret_cast<const char*>(&h), 2);
        }
        return bytes;
    }
    std::string f32(std::int64_t n, float scale) {
        std::string bytes;
        for (std::int64_t i = 0; i < n; ++i) {
            float v = normal(scale);
            bytes.append(reinterpret_cast<const char*>(&v), 4);
        }
        return bytes;
    }

    void add(const TensorSpec& s) {
        const std::string& name = s.release;
        bool norm = name.ends_with("norm.weight");
        std::vector<std::int64_t> shape =
            s.rows == 1 ? std::vector{s.columns} : std::vector{s.rows, s.columns};
        if (s.kind == TensorSpec::Kind::integers) {
            std::string bytes;
            for (std::int64_t i = 0; i < s.rows * s.columns; ++i) {
                std::int64_t expert = static_cast<std::int64_t>(engine_() % 4);
                bytes.append(reinterpret_cast<const char*>(&expert), 8);
            }
            add_bytes(name, "I64", shape, bytes);
        } else if (s.kind == TensorSpec::Kind::experts) {
            for (int e = 0; e < s.experts; ++e) {
                std::string codes, scales;
                for (std::int64_t i = 0; i < s.rows * s.columns / 2; ++i)
                    codes.push_back(static_cast<char>(engine_()));
                for (std::int64_t i = 0; i < s.rows * s.columns / 32; ++i)
                    scales.push_back(static_cast<char>(121 + engine_() % 3));
                std::string one = fmt::format(fmt::runtime(name), e);
                add_bytes(one, "I8", {s.rows, s.columns / 2}, codes);
                add_bytes(one.substr(0, one.size() - 6) + "scale", "F8_E8M0", {s.rows, s.columns / 32},
                          scales);
            }
        } else if (is_fp8_in_releases(s.role) || s.kind == TensorSpec::Kind::table) {
            std::string codes, scales;
            for (std::int64_t i = 0; i < s.rows * s.columns; ++i)
                codes.push_back(static_cast<char>(f32_to_e4m3(normal(8))));
            const bool table = s.kind == TensorSpec::Kind::table;
            std::int64_t rows = table ? s.rows : blocks_of(s.rows, block_),
                         columns = blocks_of(s.columns, table ? kEngramBlock : block_);
            for (std::int64_t i = 0; i < rows * columns; ++i)
                scales.push_back(static_cast<char>(120 + engine_() % 2));
            add_bytes(name, "F8_E4M3", shape, codes);
            add_bytes(name.substr(0, name.size() - 6) + "scale", "F8_E8M0", {rows, columns}, scales);
        } else if (norm || s.role == TensorSpec::Role::embedding || s.role == TensorSpec::Role::head ||
                   name.ends_with("weight")) {
            add_bytes(name, "BF16", shape, bf16(s.rows * s.columns, norm ? 0.1f : 0.1f, norm ? 1.0f : 0.0f));
        } else {
            add_bytes(name, "F32", shape, f32(s.rows * s.columns, 0.3f));
        }
    }

    void write() {
        nlohmann::json index;
        std::vector<std::string> names;
        for (const auto& [name, t] : tensors_) names.push_back(name);
        for (int shard = 0; shard < 2; ++shard) {
            std::string file = fmt::format("model-0000{}-of-00002.safetensors", shard + 1), data;
            nlohmann::ordered_json header;
            for (std::size_t i = shard; i < names.size(); i += 2) {
                const auto& t = tensors_[names[i]];
                header[names[i]] = {{"dtype", t.type},
                                    {"shape", t.shape},
                                    {"data_offsets", {data.size(), data.size() + t.bytes.size()}}};
                data += t.bytes;
                index["weight_map"][names[i]] = file;
            }
            std::string text = header.dump();
            std::uint64_t size = text.size();
            std::ofstream out(folder_ / file, std::ios::binary);
            out.write(reinterpret_cast<const char*>(&size), 8);
            out << text << data;
        }
        std::ofstream(folder_ / "model.safetensors.index.json") << index;
    }

    std::filesystem::path folder_;
    std::mt19937 engine_;
    int block_ = 128;  // of FP8 matrices
    std::map<std::string, Stored> tensors_;
};

}  // namespace cachalot::test
