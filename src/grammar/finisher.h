// The last step of building: from a list of edges to a program with the guarantees of program.h.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "grammar/builder.h"
#include "grammar/program.h"

namespace cachalot::grammar {

// Every step takes time linear in the number of edges.
class Finisher {
  public:
    explicit Finisher(const Builder& builder);
    std::unique_ptr<const Program> program();

  private:
    void collect_edges();
    void find_empty_rules();
    void drop_dead_ends();
    void order_rules();
    void find_tails();
    void divide_symbols();

    bool is_empty(const Edge& edge) const;
    RuleId called(const Edge& edge) const;
    std::vector<bool> reached_rules() const;
    std::vector<RuleId> first_calls(RuleId rule, std::vector<std::uint32_t>& seen) const;

    std::unique_ptr<Program> program_;
    std::vector<Builder::Added> added_;
    const std::vector<std::string>& names_;
};

}  // namespace cachalot::grammar
