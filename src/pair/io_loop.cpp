#include "pair/io_loop.h"

#include <future>
#include <utility>

#include <boost/asio/post.hpp>

#include "base/quiet_thread.h"

namespace ftvmm::pair {

IoLoop::IoLoop() : work_(io_.get_executor()), thread_(quiet_thread([this] { (void)io_.run(); })) {}

IoLoop::~IoLoop() {
    io_.stop();
    thread_.join();
}

void IoLoop::post(std::function<void()> call) {
    boost::asio::post(io_, std::move(call));
}

void IoLoop::run(const std::function<void()>& call) {
    std::promise<void> done;
    post([&] {
        call();
        done.set_value();
    });
    done.get_future().wait();
}

}  // namespace ftvmm::pair
