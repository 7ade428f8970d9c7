// The host's end of one of the guest's network cards.
#pragma once

#include <cstddef>
#include <optional>
#include <span>
#include <string>

#include "base/fd.h"
#include "base/result.h"

namespace ftvmm::host {

// What of a frame's work the guest's driver takes on itself (virtio-net's GUEST_* features).
struct TapOffload {
    bool checksum = false;
    bool tso4 = false;  // The three below need checksum.
    bool tso6 = false;
    bool ecn = false;
};

// A tap interface whose frames begin with a virtio_net_hdr of kHeaderBytes. Never waits. One thread
// may read while another writes. A tap that was made here goes away with it.
class Tap {
  public:
    static constexpr std::size_t kHeaderBytes = 12;

    // The tap `name` that an administrator made, not used by anyone else.
    static Result<Tap> open(const std::string& name);
    // A new tap, plugged into `bridge` and brought up.
    static Result<Tap> create_on(const std::string& bridge);

    // The tap behind `fd`, which another process opened and set up as open() does.
    static Tap adopt(Fd fd, std::string name) { return {std::move(fd), std::move(name)}; }

    [[nodiscard]] const std::string& name() const { return name_; }
    [[nodiscard]] int fd() const { return fd_.get(); }

    [[nodiscard]] Result<void> set_offload(const TapOffload& offload) const;
    // The next frame, header first, cut to `into`; its length, or nothing where none waits.
    [[nodiscard]] Result<std::optional<std::size_t>> read_frame(std::span<std::byte> into) const;
    // False: the queue of the host is full, try again once fd() is writable.
    [[nodiscard]] Result<bool> write_frame(std::span<const std::byte> frame) const;

  private:
    Tap(Fd fd, std::string name) : fd_(std::move(fd)), name_(std::move(name)) {}
    static Result<Tap> attach(const std::string& name);

    Fd fd_;
    std::string name_;
};

}  // namespace ftvmm::host
