// Nobody here reaches another machine.
import net from "node:net";

const connect = net.Socket.prototype.connect;
net.Socket.prototype.connect = function (...args) {
  const { host } = [args].flat(2).find((one) => one?.port) ?? {};
  if (host && !["127.0.0.1", "localhost", "::1"].includes(host)) throw new Error(`${host} is not this machine`);
  return connect.apply(this, args);
};
