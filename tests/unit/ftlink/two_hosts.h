// Two hosts of a cluster that meet over the loopback.
#pragma once

#include <csignal>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "cluster.h"
#include "ftlink/meeting_driver.h"
#include "hellos.h"

namespace ftvmm::ftlink::testing {

struct TwoHosts {
    // Meetings look at the clock of this host.
    Cluster cluster{TlsContext::system_time()};
    std::vector<std::string> lines;  // Of whoever listens.

    // A peer that is refused may find its socket closed.
    TwoHosts() { (void)std::signal(SIGPIPE, SIG_IGN); }

    // Listens, at any port.
    [[nodiscard]] LinkOptions of_primary() {
        LinkOptions options = of(primary(), "b");
        options.log = [this](const std::string& line) { lines.push_back(line); };
        return options;
    }
    // Connects to that.
    [[nodiscard]] LinkOptions of_secondary(std::uint16_t port) const {
        LinkOptions options = of(secondary(), "a");
        options.way = LinkOptions::Way::kConnects;
        options.address.port = port;
        return options;
    }

  private:
    [[nodiscard]] LinkOptions of(const Hello& hello, const std::string& peer) const {
        return {.hello = hello,
                .identity = cluster.identity(hello.host),
                .peer_hosts = {peer},
                .address = {"127.0.0.1", 0}};
    }
};

// One try of one host.
struct Meeting {
    using Met = tl::expected<Greeted, LinkLost>;

    boost::asio::io_context& io;
    std::optional<Met> met;
    std::shared_ptr<MeetingDriver> driver;

    Meeting(boost::asio::io_context& its_io, const LinkOptions& options)
        : io(its_io), driver(MeetingDriver::start(io, options, [this](Met result) {
                                 met = std::move(result);
                             }).value()) {}
    Meeting(const Meeting&) = delete;
    Meeting& operator=(const Meeting&) = delete;
    ~Meeting() { driver->close(); }

    // Waits for its end.
    [[nodiscard]] bool is_agreed() {
        return run_until(io, [this] { return met.has_value(); }) && met->has_value();
    }
    [[nodiscard]] LinkLost failure() {
        const bool is_over = run_until(io, [this] { return met.has_value(); });
        if (!is_over || met->has_value()) return {Error("it has not failed"), false};
        return met->error();
    }
};

}  // namespace ftvmm::ftlink::testing
