#!/bin/sh
# One broker in KRaft mode that answers as KAFKA_ADVERTISED, in the compose file's network as kafka:9092. As it is alone, it
# flushes every KAFKA_FLUSH_MESSAGES messages, each unless that is set.
set -e
data=/var/lib/redpanda/data/kraft
if [ ! -s "$data/meta.properties" ]; then
  mkdir -p "$data"
  printf 'version=1\ncluster.id=%s\nnode.id=1\ndirectory.id=%s\n' AAAAAAAAQACAAAAAAAAAAA BBBBBBBBQACAAAAAAAAAAA > "$data/meta.properties"
fi
cat > /tmp/server.properties <<PROPERTIES
process.roles=broker,controller
node.id=1
listeners=PLAINTEXT://0.0.0.0:9092,CONTROLLER://127.0.0.1:9093
advertised.listeners=PLAINTEXT://${KAFKA_ADVERTISED:-kafka:9092}
listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT
controller.listener.names=CONTROLLER
controller.quorum.voters=1@127.0.0.1:9093
log.dirs=$data
auto.create.topics.enable=false
offsets.topic.num.partitions=3
offsets.topic.replication.factor=1
group.initial.rebalance.delay.ms=0
group.min.session.timeout.ms=1000
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
log.flush.interval.messages=${KAFKA_FLUSH_MESSAGES:-1}
PROPERTIES
exec java -Xmx512m -Xms128m -XX:+UseSerialGC -XX:TieredStopAtLevel=1 -cp '/opt/kafka/*' kafka.Kafka /tmp/server.properties
