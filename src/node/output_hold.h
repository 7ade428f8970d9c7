// Where outputs wait for those who follow the guest.
#pragma once

#include <optional>

#include "replay/output.h"
#include "replay/record.h"

namespace ftvmm::node {

// Whether this host may still act for the VM. What was let go may yet wait for a disk or a card
// that is busy: who performs it asks this right before. Any thread.
class OutputRight {
  public:
    OutputRight() = default;
    OutputRight(const OutputRight&) = delete;
    OutputRight& operator=(const OutputRight&) = delete;
    virtual ~OutputRight() = default;

    [[nodiscard]] virtual bool holds() const = 0;
};

// The vCPU thread's own. Whoever lets outputs go wakes that thread.
class OutputHold {
  public:
    OutputHold() = default;
    OutputHold(const OutputHold&) = delete;
    OutputHold& operator=(const OutputHold&) = delete;
    virtual ~OutputHold() = default;

    // `output` may leave once the record `mark` is safe, behind all that were held before. Without
    // one: nobody records it.
    virtual void hold(std::optional<replay::Seq> mark, replay::Output&& output) = 0;
    // The next that may leave now: at once, or not at all.
    [[nodiscard]] virtual std::optional<replay::Output> take_free() = 0;
    // The guest is not to run, lest there be more of them.
    [[nodiscard]] virtual bool is_full() const = 0;
    [[nodiscard]] virtual bool is_empty() const = 0;
};

}  // namespace ftvmm::node
