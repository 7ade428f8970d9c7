// Both ends of TLS in one thread, over the loopback.
#pragma once

#include <cstddef>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include <catch2/catch.hpp>

#include "cluster.h"
#include "ftlink/tls_listener.h"
#include "ftlink/tls_opening.h"

namespace ftvmm::ftlink::testing {

inline std::span<const std::byte> bytes_of(std::string_view text) {
    return std::as_bytes(std::span(text));
}

// A listener, what it accepted, and what it has to say.
struct Listening {
    boost::asio::io_context& io;
    std::vector<std::string> lines;
    std::vector<std::shared_ptr<TlsChannel>> accepted;
    std::shared_ptr<TlsListener> listener;

    Listening(boost::asio::io_context& its_io, const TlsContext& context,
              TlsListenerOptions options = {})
        : io(its_io) {
        options.address = {"127.0.0.1", 0};
        listener = TlsListener::listen(
                       io, context, std::move(options),
                       [this](const std::string& line) { lines.push_back(line); },
                       [this](auto channel) { accepted.push_back(std::move(channel)); })
                       .value();
    }
    Listening(const Listening&) = delete;
    Listening& operator=(const Listening&) = delete;
    ~Listening() {
        listener->close();
        for (const auto& channel : accepted)
            channel->close();
    }
    [[nodiscard]] TlsAddress address() const { return {"127.0.0.1", listener->port()}; }
    // The one refusal.
    [[nodiscard]] std::string refusal() {
        REQUIRE(run_until(io, [&] { return !lines.empty(); }));
        CHECK(lines.size() == 1);
        return lines.front();
    }
};

// One attempt to connect: what became of it.
struct Connecting {
    std::optional<TlsOpening::Opened> opened;
    std::shared_ptr<TlsOpening> opening;

    Connecting(boost::asio::io_context& io, const TlsContext& context, const TlsAddress& address,
               const std::string& expected, const TlsPatience& patience = {}) {
        opening = tls_connect(io, context, address, {expected}, patience, [this](auto result) {
                      opened = std::move(result);
                  }).value();
        run_until(io, [this] { return opened.has_value(); });
        REQUIRE(opened);
    }
    [[nodiscard]] const std::shared_ptr<TlsChannel>& channel() const {
        if (!*opened) FAIL(opened->error().why.line());
        return **opened;
    }
    [[nodiscard]] std::string failure() const {
        REQUIRE_FALSE(*opened);
        return opened->error().why.line();
    }
};

// One end of an open channel: what came, and what ended it.
struct End {
    std::shared_ptr<TlsChannel> channel;
    std::vector<std::byte> got;
    std::size_t pieces = 0;
    std::optional<ChannelEnd> ended;
    bool reads_on = true;

    explicit End(std::shared_ptr<TlsChannel> its_channel) : channel(std::move(its_channel)) {
        channel->start({.received =
                            [this](std::span<const std::byte> bytes) {
                                got.insert(got.end(), bytes.begin(), bytes.end());
                                ++pieces;
                                if (reads_on) channel->read();
                            },
                        .written = {},
                        .ended = [this](ChannelEnd end) { ended = std::move(end); }});
        channel->read();
    }
    End(const End&) = delete;
    End& operator=(const End&) = delete;
    ~End() { channel->close(); }

    void send(std::string_view text) {
        channel->queue(bytes_of(text));
        channel->flush();
    }
    [[nodiscard]] std::string text() const {
        return {reinterpret_cast<const char*>(got.data()), got.size()};
    }
};

inline bool has(const std::string& text, std::string_view part) {
    return text.find(part) != std::string::npos;
}

}  // namespace ftvmm::ftlink::testing
